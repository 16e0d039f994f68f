// Matrix multiplication by cuBLASLt, with one plan per shape that is chosen among the library's proposals by timing
// them once.
#pragma once

#include <cublasLt.h>

#include <map>
#include <tuple>
#include <vector>

#include "device.h"

namespace torchclip::cuda {

class Blas {
 public:
  Blas();
  ~Blas();
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  // Queues the multiplication on device.stream(). If `may_time` is set, the plan of a new shape is timed on scratch
  // memory of the device; otherwise the library's first proposal is used and kept.
  void gemm(Device& device, const GemmArgs& args, bool may_time);

 private:
  struct Plan {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
    bool epilogue = true;  // false: a kernel applies bias and activation, because the library cannot fuse them.
  };
  using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, DType, DType, bool, bool, bool, int>;

  Plan make(Device& device, const GemmArgs& args, int alignment, bool may_time);
  bool propose(Plan& plan, const GemmArgs& args, int alignment,
               std::vector<cublasLtMatmulHeuristicResult_t>& found) const;
  cublasStatus_t start(Device& device, const Plan& plan, const cublasLtMatmulAlgo_t& algorithm, const GemmArgs& args,
                       void* out) const;
  static void free(Plan& plan);

  cublasLtHandle_t handle_ = nullptr;
  Memory workspace_;
  std::map<Key, Plan> plans_;
};

}  // namespace torchclip::cuda
