# The imported target `libtorch`, from a prebuilt libtorch: an unpacked archive or an installed Python torch (both
# have include/ and lib/). libtorch's own TorchConfig.cmake is not used, because a CUDA build of it demands a CUDA
# toolkit even where no CUDA source is compiled.
#   TORCHCLIP_LIBTORCH  folder that holds include/ and lib/
set(TORCHCLIP_LIBTORCH "$ENV{TORCHCLIP_LIBTORCH}" CACHE PATH "libtorch: the folder with include/ and lib/")
set(_header "${TORCHCLIP_LIBTORCH}/include/torch/csrc/api/include/torch/version.h")
if(EXISTS "${TORCHCLIP_LIBTORCH}/include/torch/headeronly/version.h")
  set(_header "${TORCHCLIP_LIBTORCH}/include/torch/headeronly/version.h")
endif()
if(NOT EXISTS "${_header}")
  message(FATAL_ERROR "TORCHCLIP_LIBTORCH (\"${TORCHCLIP_LIBTORCH}\") holds no libtorch headers. "
    "Run `npm run build`, which finds or fetches libtorch, or set it to an unpacked libtorch.")
endif()
file(STRINGS "${_header}" _version REGEX "#define TORCH_VERSION_(MAJOR|MINOR) ")
string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*" "\\1.\\2" TORCHCLIP_LIBTORCH_VERSION "${_version}")
if(TORCHCLIP_LIBTORCH_VERSION VERSION_LESS 2.11 OR TORCHCLIP_LIBTORCH_VERSION VERSION_GREATER_EQUAL 2.15)
  message(FATAL_ERROR "libtorch ${TORCHCLIP_LIBTORCH_VERSION} at ${TORCHCLIP_LIBTORCH} is not in 2.11 to 2.14.")
endif()
message(STATUS "libtorch ${TORCHCLIP_LIBTORCH_VERSION} at ${TORCHCLIP_LIBTORCH}")

# Only the CPU half is linked: the CUDA half, where there is one, is loaded when a GPU is asked for (see
# core/runtime/cuda_library.h), so that a missing driver or NVIDIA library is an error message and no crash at start.
add_library(libtorch INTERFACE)
target_include_directories(libtorch SYSTEM INTERFACE
  "${TORCHCLIP_LIBTORCH}/include" "${TORCHCLIP_LIBTORCH}/include/torch/csrc/api/include")
foreach(name torch_cpu c10)
  find_library(TORCHCLIP_LIB_${name} ${name} PATHS "${TORCHCLIP_LIBTORCH}/lib" NO_DEFAULT_PATH REQUIRED)
  target_link_libraries(libtorch INTERFACE "${TORCHCLIP_LIB_${name}}")
endforeach()
target_link_libraries(libtorch INTERFACE ${CMAKE_DL_LIBS})
target_link_options(libtorch INTERFACE "-Wl,-rpath,${TORCHCLIP_LIBTORCH}/lib")
