# Stands in for the build tree of 3D Slicer 5.12 where there is none: what its macros ask for, check, copy and install.
get_filename_component(_stub ${CMAKE_CURRENT_LIST_FILE} DIRECTORY)
set(Slicer_USE_FILE ${_stub}/UseSlicer.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${_stub}/GenerateConfig.cmake)
set(Slicer_EXTENSION_CPACK ${_stub}/CPack.cmake)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer-5.12/qt-scripted-modules)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer-5.12/qt-scripted-modules)
