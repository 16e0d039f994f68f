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
# core/model/gpu_library.h), so that a missing driver or NVIDIA library is an error message and no crash at start.
add_library(libtorch INTERFACE)
target_include_directories(libtorch SYSTEM INTERFACE
  "${TORCHCLIP_LIBTORCH}/include" "${TORCHCLIP_LIBTORCH}/include/torch/csrc/api/include")
foreach(name torch_cpu c10)
  find_library(TORCHCLIP_LIB_${name} ${name} PATHS "${TORCHCLIP_LIBTORCH}/lib" NO_DEFAULT_PATH REQUIRED)
  target_link_libraries(libtorch INTERFACE "${TORCHCLIP_LIB_${name}}")
endforeach()
target_link_libraries(libtorch INTERFACE ${CMAKE_DL_LIBS})
if(NOT APPLE)
  # For the linker alone: nothing that is linked gets a RUNPATH.
  target_link_options(libtorch INTERFACE "-Wl,-rpath-link,${TORCHCLIP_LIBTORCH}/lib")
endif()

# The CUDA half, for native/cuda alone: libtorch's own, NVIDIA's headers from the toolkit or from the packages that a
# Python torch brings (beside torch/, in nvidia/), and cuBLASLt of the same.
function(torchclip_add_libtorch_cuda)
  file(GLOB _packages "${TORCHCLIP_LIBTORCH}/../nvidia/cu*")
  find_path(TORCHCLIP_CUBLAS_INCLUDE cublasLt.h HINTS ${_packages} PATH_SUFFIXES include
    PATHS ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  set(_libraries)
  foreach(name cublasLt cudart)  # packages hold libcudart.so.13 alone, without the plain name that find_library knows
    set(_found)
    foreach(folder "${TORCHCLIP_LIBTORCH}/lib" ${_packages})
      file(GLOB _here "${folder}/lib${name}*.so*" "${folder}/lib/lib${name}*.so*")
      list(APPEND _found ${_here})
    endforeach()
    if(NOT _found)
      find_library(TORCHCLIP_LIB_${name} ${name} PATHS ${CMAKE_CUDA_IMPLICIT_LINK_DIRECTORIES})
      set(_found ${TORCHCLIP_LIB_${name}})
    endif()
    if(_found)
      list(GET _found 0 _found)
      list(APPEND _libraries "${_found}")
      get_filename_component(_folder "${_found}" DIRECTORY)
      list(APPEND _folders "${_folder}")
    endif()
  endforeach()
  list(LENGTH _libraries _count)
  if(NOT TORCHCLIP_CUBLAS_INCLUDE OR NOT _count EQUAL 2)
    message(FATAL_ERROR "cuBLASLt or the CUDA runtime was not found: install NVIDIA's toolkit, or "
      "`pip install nvidia-cublas nvidia-cuda-runtime` beside the torch at ${TORCHCLIP_LIBTORCH}")
  endif()
  add_library(libtorch_cuda INTERFACE)
  # The toolkit's own headers come first: nvcc and they are of one version.
  target_include_directories(libtorch_cuda SYSTEM INTERFACE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES} "${TORCHCLIP_CUBLAS_INCLUDE}")
  # What libtorch_cuda itself needs of NVIDIA's is found by its own rpath when it is loaded.
  target_link_options(libtorch_cuda INTERFACE -Wl,--allow-shlib-undefined)
  # For programs that are linked with it, which are tests.
  set_target_properties(libtorch_cuda PROPERTIES torchclip_rpath "${TORCHCLIP_LIBTORCH}/lib;${_folders}")
  foreach(name torch_cuda c10_cuda)
    find_library(TORCHCLIP_LIB_${name} ${name} PATHS "${TORCHCLIP_LIBTORCH}/lib" NO_DEFAULT_PATH REQUIRED)
    target_link_libraries(libtorch_cuda INTERFACE "${TORCHCLIP_LIB_${name}}")
  endforeach()
  target_link_libraries(libtorch_cuda INTERFACE libtorch ${_libraries})
endfunction()
