# Binaries for packages (scripts/package): they run on every Linux with glibc 2.28 or later, whatever its C++ library.
# libstdc++ is linked into them and stays hidden; libgcc_s, libm and glibc are the system's.
add_library(torchclip_glibc OBJECT package/glibc_2_28.c)
set_target_properties(torchclip_glibc PROPERTIES C_VISIBILITY_PRESET hidden)
target_compile_options(torchclip_glibc PRIVATE -fno-builtin -Wno-maybe-uninitialized)  # a pointer passed on is not read

# Before glibc 2.34 functions for threads and libraries were in files of their own, which a program may not have loaded.
set(_separate_libraries -Wl,--push-state,--no-as-needed,-l:libdl.so.2,-l:libpthread.so.0,--pop-state)

function(torchclip_for_packages)
  foreach(target ${ARGN})
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:torchclip_glibc>)
    target_link_options(${target} PRIVATE -static-libstdc++ -s -Wl,--exclude-libs,ALL -Wl,--build-id=none
      ${_separate_libraries})
    # The backends lie beside it. The search path of a build tree ends with the current folder.
    set_target_properties(${target} PROPERTIES BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "$ORIGIN")
  endforeach()
endfunction()
