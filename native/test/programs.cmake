# Test programs that take files as arguments or tables of one instruction set; they need no framework.
#   TORCHCLIP_GOLDENS  a folder that scripts/arm64-goldens.ts wrote; empty: none
set(TORCHCLIP_GOLDENS "" CACHE PATH "artifacts of the model families, from scripts/arm64-goldens.ts; empty: none")

function(torchclip_program name)
  add_executable(${name} ${name}.cpp)
  target_link_libraries(${name} PRIVATE torchclip_core_archive)
endfunction()

torchclip_program(tokenize)  # for test/text/native-tokenizer.test.ts

if(TORCHCLIP_ARM64_KERNELS)
  torchclip_program(neon_test)
  add_test(NAME neon COMMAND neon_test)
endif()

set(_goldens ${PROJECT_SOURCE_DIR}/test/goldens)
torchclip_program(golden_test)
add_test(NAME golden_pixels COMMAND golden_test pixels ${_goldens}/preprocessing.json)
add_test(NAME golden_transforms COMMAND golden_test pixels ${_goldens}/transforms.json)
foreach(isa ${TORCHCLIP_TEST_ISAS})
  add_test(NAME golden_transforms_${isa} COMMAND golden_test pixels ${_goldens}/transforms.json)
  set_tests_properties(golden_transforms_${isa} PROPERTIES ENVIRONMENT TORCHCLIP_ISA=${isa})
endforeach()
add_test(NAME golden_tiny COMMAND golden_test embeddings ${_goldens}/tiny.json ${PROJECT_SOURCE_DIR}/models/tiny.pt)
if(TORCHCLIP_GOLDENS)
  add_test(NAME golden_processors COMMAND golden_test pixels ${TORCHCLIP_GOLDENS}/processors.json)
  file(GLOB _artifacts ${TORCHCLIP_GOLDENS}/family-*.pt)
  foreach(artifact ${_artifacts})
    string(REGEX REPLACE "^.*family-([0-9]+)\\.pt$" "\\1" _number ${artifact})
    add_test(NAME golden_family_${_number}
      COMMAND golden_test embeddings ${_goldens}/families.json ${artifact} ${_number})
  endforeach()
endif()
