"""A stand-in for the Slicer application, small and strict: PythonQt's behaviour on PyQt5 or PySide6, real MRML."""
