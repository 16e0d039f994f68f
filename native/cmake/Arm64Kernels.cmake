# The kernels of ARM64, one file for each extension of the instruction set; core/kernels/kernels.cpp chooses at run time.
set(TORCHCLIP_ARM64_KERNELS ON)
target_compile_definitions(torchclip_core PRIVATE TORCHCLIP_ARM64)
# GCC contracts a * b + c to one rounding where the CPU has such an instruction, which every ARM64 has and the x86 that
# the core is compiled for has not. The bits of the resampler's weights would differ.
target_compile_options(torchclip_core PRIVATE -ffp-contract=off)

function(torchclip_arm64_kernels name march)
  target_sources(torchclip_core PRIVATE core/kernels/${name}.cpp)
  set_source_files_properties(core/kernels/${name}.cpp PROPERTIES
    COMPILE_OPTIONS "-O3;-march=${march}" COMPILE_DEFINITIONS TORCHCLIP_NEON)
endfunction()
torchclip_arm64_kernels(neon armv8-a)
torchclip_arm64_kernels(neon_dot armv8.2-a+dotprod)
torchclip_arm64_kernels(neon_i8mm armv8.2-a+i8mm)
torchclip_arm64_kernels(neon_bf16 armv8.2-a+bf16)
