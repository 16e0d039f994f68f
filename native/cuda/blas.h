// Matrix multiplication by cuBLASLt.
#pragma once

#include <cublasLt.h>

#include <map>
#include <tuple>
#include <vector>

#include "device.h"
#include "gemm_plans.h"

namespace torchclip::cuda {

class Blas final : private GemmLibrary<cublasLtMatmulAlgo_t> {
 public:
  explicit Blas(Device& device);
  ~Blas() override;
  Blas(const Blas&) = delete;
  Blas& operator=(const Blas&) = delete;

  // Queues the multiplication on the device's stream. If `may_time` is set, the plan of a new shape is chosen by timing
  // the library's proposals on scratch memory; otherwise its first proposal is used and kept.
  void gemm(const GemmArgs& args, bool may_time);

  std::uint64_t timed() const { return plans_.timed(); }  // Shapes whose proposals were timed.

 private:
  using Algorithm = cublasLtMatmulAlgo_t;
  using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, DType, DType, bool, bool, bool, int>;

  // A shape as cuBLASLt describes it.
  struct Operation {
    Operation(const GemmArgs& args, bool fused);
    ~Operation();
    Operation(Operation&& other) noexcept;
    Operation& operator=(Operation&&) = delete;

    cublasLtMatmulDesc_t description = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
    bool epilogue;  // Whether the library applies bias and activation.

   private:
    void describe(const GemmArgs& args);
    void release();
  };
  struct Plan {
    Operation operation;
    Algorithm algorithm{};
  };
  struct Scratch;

  std::vector<Algorithm> propose(const GemmArgs& args, bool epilogue) override;
  bool accepts(const GemmArgs& args, bool epilogue, const Algorithm& algorithm) override;
  std::vector<GemmTrial> try_out(const GemmArgs& args, bool epilogue, const std::vector<Algorithm>& all) override;

  const Plan& plan_of(const GemmArgs& args, bool may_time);
  cublasStatus_t start(const Operation& operation, const Algorithm& algorithm, const GemmArgs& args, const void* a,
                       void* out) const;

  Device& device_;
  cublasLtHandle_t handle_ = nullptr;
  Memory workspace_;
  std::map<Key, Plan> shapes_;  // Every shape so far, with the algorithm of its cell.
  GemmPlans<Algorithm> plans_{*this};
};

}  // namespace torchclip::cuda
