# With TORCHCLIP_STRICT further warnings are errors in torchclip's own code; headers of libraries are system headers and
# are not checked. It is for development and CI alone (see CMakePresets.json): other compilers than CI's may warn of
# other things, which must not end the build of a user.
set(TORCHCLIP_STRICT_WARNINGS -Wconversion -Wsign-conversion -Wshadow)

if(TORCHCLIP_STRICT)
  add_compile_options("$<$<COMPILE_LANGUAGE:C,CXX>:-Werror;${TORCHCLIP_STRICT_WARNINGS}>")
endif()
