# Cross-compiles with the clang, libc++ and system headers that zig brings. scripts/other-systems.mjs uses it; ZIG is the
# path of zig, and ZIG_SYSTEM is Darwin or Windows, with the target ZIG_TARGET of zig.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ZIG ZIG_SYSTEM ZIG_PROCESSOR ZIG_TARGET)
set(CMAKE_SYSTEM_NAME ${ZIG_SYSTEM})
set(CMAKE_SYSTEM_PROCESSOR ${ZIG_PROCESSOR})
set(CMAKE_C_COMPILER ${ZIG} cc)
set(CMAKE_CXX_COMPILER ${ZIG} c++)
set(CMAKE_C_COMPILER_TARGET ${ZIG_TARGET})
set(CMAKE_CXX_COMPILER_TARGET ${ZIG_TARGET})
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)  # nothing is linked
