// The graphs and plans of cudnn_plans.h by the real cuDNN, compiled for an H100 that is described, not there
// (scripts/cudnn-check). Nothing is run.
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>

#include "cudnn_plans.h"

using namespace torchclip::cuda;

namespace {

// An H100 SXM, in the words of cuDNN 9.8 and later.
constexpr const char* kH100 =
    R"({"cudaDeviceId": 0, "deviceVer": 900, "driverVer": 13000, "deviceName": "NVIDIA H100 80GB HBM3",
"multiProcessorCount": 132, "smCountOrigin": 0, "warpSize": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048,
"maxCtasPerSM": 32, "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536,
"maxRegistersPerSM": 65536, "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448,
"oversizedSharedMemoryPerBlock": 0, "reservedSharedMemoryPerBlock": 1024, "l2CacheSize": 52428800,
"totalGlobalMem": 85000000000, "memoryBusWidth": 5120, "smClockRateKHz": 1980000, "memClockRateKHz": 2619000,
"pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1})";

constexpr int kMostPlans = 8;
constexpr std::int64_t kMostWorkspace = 32 << 20;

struct Shape {
  const char* name;
  std::int64_t rows, width;
  torchclip::core::Activation activation;
};

// Whole passes of an H100, and smaller ones.
constexpr Shape kShapes[] = {{"ViT-B/32, 337 images", 337 * 50, 768, torchclip::core::Activation::quick_gelu},
                             {"ViT-B/32, 100 images", 100 * 50, 768, torchclip::core::Activation::quick_gelu},
                             {"ViT-L/14, 65 images", 65 * 257, 1024, torchclip::core::Activation::quick_gelu},
                             {"ViT-L/14, 16 images", 16 * 257, 1024, torchclip::core::Activation::quick_gelu},
                             {"ViT-H/14, 65 images", 65 * 257, 1280, torchclip::core::Activation::gelu}};

bool has_plans(const cudnn::Functions& functions, const Shape& shape, DType dtype) {
  ActivatedGemm gemm;
  gemm.product.rows = shape.rows;
  gemm.product.inner = shape.width;
  gemm.product.columns = gemm.product.stride = 4 * shape.width;
  gemm.product.dtype = gemm.product.out_dtype = dtype;
  gemm.activation = shape.activation;
  const bool is_exact = shape.activation == torchclip::core::Activation::gelu;
  std::printf("%s: %lld x %lld x %lld, %s, %s\n", shape.name, static_cast<long long>(shape.rows),
              static_cast<long long>(shape.width), static_cast<long long>(4 * shape.width),
              dtype == DType::f16 ? "fp16" : "bf16", is_exact ? "GELU" : "QuickGELU");
  const auto start = std::chrono::steady_clock::now();
  const auto plans = cudnn::plans_for(functions, {nullptr, kH100}, gemm, kMostPlans, kMostWorkspace);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf("  %zu plans in %.1f s:", plans.size(), seconds.count());
  for (const auto& plan : plans) {
    std::printf(" engine %lld (workspace %lld)", static_cast<long long>(plan.engine()),
                static_cast<long long>(plan.workspace_bytes()));
  }
  std::printf("\n");
  return !plans.empty();
}

}  // namespace

int main() {
  std::string problem;
  const auto* functions = cudnn::open_library(problem);
  if (!functions) {
    std::fprintf(stderr, "cudnn-check: %s\n", problem.c_str());
    return 1;
  }
  std::printf("cuDNN %zu\n", functions->version());
  int missing = 0;
  for (const auto dtype : {DType::bf16, DType::f16}) {
    for (const auto& shape : kShapes) {
      try {
        if (!has_plans(*functions, shape, dtype)) ++missing;
      } catch (const std::exception& error) {
        std::fprintf(stderr, "cudnn-check: %s\n", error.what());
        ++missing;
      }
    }
  }
  std::printf("cudnn-check: %d of the shapes have no plan\n", missing);
  return missing > 0 ? 1 : 0;
}
