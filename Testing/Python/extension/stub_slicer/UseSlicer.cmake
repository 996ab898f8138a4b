include(CTest)

# As CMake/SlicerMacroBuildScriptedModule.cmake with CTK's ctkMacroCompilePythonScript: same keywords, same checks, same
# folders. Relative paths are kept below the destination; without WITH_SUBDIR the whole destination is installed.
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS OR NOT DEFINED MY_NAME)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule: no NAME, or unknown keywords: ${MY_UNPARSED_ARGUMENTS}")
  endif()

  set(_destination ${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR})
  set(_installed ${_destination}/)
  if(MY_WITH_SUBDIR)
    get_filename_component(_folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
    set(_destination ${_destination}/${_folder})
    set(_installed ${_destination})
  endif()

  set(_copies)
  foreach(_file IN LISTS MY_SCRIPTS MY_RESOURCES)
    if(IS_ABSOLUTE ${_file} OR ${_file} MATCHES "\\.\\.")
      message(FATAL_ERROR "${_file} would be put outside of the module's folder")
    endif()
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${_file})
      message(FATAL_ERROR "slicerMacroBuildScriptedModule given nonexistent file or directory '${_file}'")
    endif()
    add_custom_command(
      OUTPUT ${_destination}/${_file}
      COMMAND ${CMAKE_COMMAND} -E copy ${CMAKE_CURRENT_SOURCE_DIR}/${_file} ${_destination}/${_file}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${_file}
      )
    list(APPEND _copies ${_destination}/${_file})
  endforeach()
  add_custom_target(Copy${MY_NAME}PythonFiles ALL DEPENDS ${_copies})
  install(DIRECTORY ${_installed} DESTINATION ${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR})

  if(BUILD_TESTING AND MY_WITH_GENERIC_TESTS)
    add_test(NAME py_nomainwindow_qSlicer${MY_NAME}ModuleGenericTest COMMAND Slicer --testing)
  endif()
endmacro()

# As CMake/SlicerMacroPythonTesting.cmake.
macro(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "TESTNAME_PREFIX;SCRIPT" "SLICER_ARGS" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS OR NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${MY_SCRIPT})
    message(FATAL_ERROR "slicer_add_python_unittest: '${MY_SCRIPT}' does not exist, or '${MY_UNPARSED_ARGUMENTS}' is unknown")
  endif()
  get_filename_component(_name ${MY_SCRIPT} NAME_WE)
  add_test(NAME py_${MY_TESTNAME_PREFIX}${_name} COMMAND Slicer --testing ${MY_SLICER_ARGS})
endmacro()
