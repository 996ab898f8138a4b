# What the real one puts into the extension's description.
set(_description)
foreach(_name HOMEPAGE CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
  if(NOT DEFINED EXTENSION_${_name})
    message(FATAL_ERROR "EXTENSION_${_name} is not set")
  endif()
  string(APPEND _description "${_name} ${EXTENSION_${_name}}\n")
endforeach()
file(WRITE ${CMAKE_BINARY_DIR}/${PROJECT_NAME}.description "${_description}")
