# With TORCHCLIP_STRICT further warnings are errors in torchclip's own code; headers of libraries are system headers and
# are not checked. It is for development and CI alone (see CMakePresets.json): other compilers than CI's may warn of
# other things, which must not end the build of a user.
set(TORCHCLIP_STRICT_WARNINGS -Wconversion -Wsign-conversion -Wshadow)

# Files and folders of native/ that are not clean yet, and the warnings that stay off for them. The lists are to become
# empty.
set(TORCHCLIP_NOT_STRICT test)
set(TORCHCLIP_SIGNS_NOT_STRICT core/kernels core/linalg core/model/cpu)

if(TORCHCLIP_STRICT)
  add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:-Werror;${TORCHCLIP_STRICT_WARNINGS}>")
endif()

# Turns warnings off for the files of a list.
function(torchclip_exempt list warnings)
  list(TRANSFORM warnings REPLACE "^-W" "-Wno-" OUTPUT_VARIABLE off)
  foreach(exempt ${list})
    set(path "${CMAKE_CURRENT_SOURCE_DIR}/native/${exempt}")
    set(files "${path}")
    if(IS_DIRECTORY "${path}")
      file(GLOB_RECURSE files "${path}/*.cpp")
    endif()
    set_property(SOURCE ${files} DIRECTORY native native/test native/test/cuda APPEND PROPERTY COMPILE_OPTIONS ${off})
  endforeach()
endfunction()

# Called when all targets are known.
function(torchclip_exempt_from_strict)
  if(TORCHCLIP_STRICT)
    torchclip_exempt("${TORCHCLIP_NOT_STRICT}" "${TORCHCLIP_STRICT_WARNINGS}")
    torchclip_exempt("${TORCHCLIP_SIGNS_NOT_STRICT}" -Wsign-conversion)
  endif()
endfunction()
