# Small backends for core_backend_test, made with other tools than the core: fake_torch.c by the C compiler, and
# fake_cuda.cpp by clang++ with libc++ where both are found (Debian: clang libc++-dev libc++abi-dev).
#   TORCHCLIP_TEST_BACKENDS         the folder that holds a folder for each of them
#   TORCHCLIP_TEST_BACKEND_TARGETS  what makes them
set(TORCHCLIP_TEST_BACKENDS ${CMAKE_CURRENT_BINARY_DIR}/backends)
set(TORCHCLIP_TEST_BACKEND_TARGETS)

# torchclip_fake_torch(FOLDER [DEFINITION ...]): libtorchclip_torch from fake_torch.c.
function(torchclip_fake_torch folder)
  set(target fake_torch_${folder})
  add_library(${target} SHARED backends/fake_torch.c)
  target_include_directories(${target} PRIVATE ../core ../include)
  target_compile_definitions(${target} PRIVATE FAKE_RELEASE="${PROJECT_VERSION}" ${ARGN})
  set_target_properties(${target} PROPERTIES C_STANDARD 99 C_VISIBILITY_PRESET hidden OUTPUT_NAME torchclip_torch
    LIBRARY_OUTPUT_DIRECTORY ${TORCHCLIP_TEST_BACKENDS}/${folder})
  set(TORCHCLIP_TEST_BACKEND_TARGETS ${TORCHCLIP_TEST_BACKEND_TARGETS} ${target} PARENT_SCOPE)
endfunction()
torchclip_fake_torch(whole)
torchclip_fake_torch(small FAKE_SIZE_LESS=8)
torchclip_fake_torch(version FAKE_VERSION=99)
torchclip_fake_torch(release FAKE_RELEASE_INSTEAD="0.0.1")
torchclip_fake_torch(nothing FAKE_NO_TABLE)
torchclip_fake_torch(symbol FAKE_ENTRY=another_function)

# What stands for libtorch's libraries.
foreach(name c10 torch_cpu)
  add_library(fake_lib_${name} SHARED backends/fake_library.c)
  set_target_properties(fake_lib_${name} PROPERTIES OUTPUT_NAME ${name}
    LIBRARY_OUTPUT_DIRECTORY ${TORCHCLIP_TEST_BACKENDS}/libtorch/lib)
  list(APPEND TORCHCLIP_TEST_BACKEND_TARGETS fake_lib_${name})
endforeach()

set(_source ${CMAKE_CURRENT_SOURCE_DIR}/backends/fake_cuda.cpp)
set(_library ${TORCHCLIP_TEST_BACKENDS}/whole/libtorchclip_cuda${CMAKE_SHARED_LIBRARY_SUFFIX})
set(_flags -std=c++20 -fPIC -shared -fvisibility=hidden -Wall -Wextra -DFAKE_RELEASE="${PROJECT_VERSION}"
  -I${CMAKE_CURRENT_SOURCE_DIR}/../core -I${CMAKE_CURRENT_SOURCE_DIR}/../include)
find_program(TORCHCLIP_CLANGXX clang++)
if(TORCHCLIP_CLANGXX AND NOT CMAKE_CROSSCOMPILING AND NOT DEFINED TORCHCLIP_HAS_LIBCXX)
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/libcxx.cpp "#include <string>\nstd::string text() { return \"libc++\"; }\n")
  execute_process(COMMAND ${TORCHCLIP_CLANGXX} -stdlib=libc++ -fPIC -shared ${CMAKE_CURRENT_BINARY_DIR}/libcxx.cpp
    -o ${CMAKE_CURRENT_BINARY_DIR}/libcxx.so RESULT_VARIABLE _failed OUTPUT_QUIET ERROR_QUIET)
  if(_failed EQUAL 0)
    set(TORCHCLIP_HAS_LIBCXX ON CACHE INTERNAL "clang++ has libc++")
  endif()
endif()
if(TORCHCLIP_CLANGXX AND TORCHCLIP_HAS_LIBCXX)
  message(STATUS "The test's C++ backend: ${TORCHCLIP_CLANGXX} with libc++")
  set(_compiler ${TORCHCLIP_CLANGXX} -stdlib=libc++)
else()
  message(STATUS "The test's C++ backend: ${CMAKE_CXX_COMPILER}, because no clang++ with libc++ was found")
  set(_compiler ${CMAKE_CXX_COMPILER})
endif()
add_custom_command(OUTPUT ${_library}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${TORCHCLIP_TEST_BACKENDS}/whole
  COMMAND ${_compiler} ${_flags} ${_source} -o ${_library}
  DEPENDS ${_source} ${CMAKE_CURRENT_SOURCE_DIR}/../core/backend/cuda_table.h
    ${CMAKE_CURRENT_SOURCE_DIR}/../core/backend/backend.h VERBATIM)
add_custom_target(fake_cuda DEPENDS ${_library})
list(APPEND TORCHCLIP_TEST_BACKEND_TARGETS fake_cuda)
