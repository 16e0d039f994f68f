# Binaries for packages (scripts/package): they run on every Linux with glibc 2.28 or later and any C++ library.
# libstdc++ is linked into the addon and the C library and stays hidden; libgcc_s, libm and glibc are the system's.
add_library(torchclip_glibc OBJECT package/glibc_2_28.c)
set_target_properties(torchclip_glibc PROPERTIES C_VISIBILITY_PRESET hidden)
target_compile_options(torchclip_glibc PRIVATE -fno-builtin -Wno-maybe-uninitialized)  # a pointer passed on is not read

# Before glibc 2.34 functions for threads and libraries were in files of their own, which a program may not have loaded.
set(_separate_libraries -Wl,--push-state,--no-as-needed,-l:libdl.so.2,-l:libpthread.so.0,--pop-state)

# What every binary of a package is linked with.
function(torchclip_link_for_packages target)
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:torchclip_glibc>)
  target_link_options(${target} PRIVATE -s -Wl,--exclude-libs,ALL -Wl,--build-id=none ${_separate_libraries})
endfunction()

function(torchclip_for_packages)
  foreach(target ${ARGN})
    torchclip_link_for_packages(${target})
    target_link_options(${target} PRIVATE -static-libstdc++)
    # The backends lie beside it. The search path of a build tree ends with the current folder.
    set_target_properties(${target} PROPERTIES BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "$ORIGIN")
  endforeach()
endfunction()

# A backend of libtorch. The two exchange objects of the standard library, so both use the libstdc++ of the system.
# libtorch's headers put their paths into messages; the name `libtorch` stands for the folder of this machine.
function(torchclip_backend_for_packages target)
  torchclip_link_for_packages(${target})
  target_compile_options(${target} PRIVATE "-ffile-prefix-map=${TORCHCLIP_LIBTORCH}=libtorch")
endfunction()
