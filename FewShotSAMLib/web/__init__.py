"""The workflow in a browser: a local server with the views of 3D Slicer, for those without Slicer and for GPU servers.

`security`, `folder`, `options`, `keyboard`, `pictures`, `contents` and `turns` need no trame-slicer and no VTK;
the rest does.
"""
