// GEMMs with a bias and an activation that cuBLASLt has no epilogue for: by one kernel of another library where that is
// faster, else by a GEMM and a kernel of ours. Nothing here knows the library: cudnn_gemms.h uses it with cuDNN, and
// the tests with models of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "device.h"

namespace torchclip::cuda {

// One kernel for GEMMs of one shape.
class FusedPlan {
 public:
  FusedPlan() = default;
  virtual ~FusedPlan() = default;
  FusedPlan(const FusedPlan&) = delete;
  FusedPlan& operator=(const FusedPlan&) = delete;
  // Queues a GEMM of the plan's shape; false if the library refuses.
  virtual bool run(const ActivatedGemm& gemm) = 0;
};

// A library with such kernels.
class FusedLibrary {
 public:
  virtual ~FusedLibrary() = default;
  // Plans for a shape, the most promising one first; none if the library has none. Each may take a second to compile.
  virtual std::vector<std::unique_ptr<FusedPlan>> plans(const ActivatedGemm& gemm) = 0;
};

// Whether plans are made for a shape.
enum class Planning {
  never,     // The pass is captured, or nothing may be timed.
  repeated,  // The pass has any number of rows: plans are made for shapes of a second pass.
  now        // The pass has one of a few numbers of rows, and is captured next.
};

struct ActivatedGemmOptions {
  // Below, what the two kernels hand over fits into the L2 cache of an H100, and planning costs more than it gives.
  std::int64_t least_rows = 4096;
  // That are tried: a plan serves one number of rows, and a library compiles for each.
  std::size_t most_shapes = 16;
};

class ActivatedGemms {
 public:
  // `library` may be null. It must outlive the GEMMs.
  ActivatedGemms(Device& device, FusedLibrary* library, const ActivatedGemmOptions& options = {})
      : device_(device), library_(library), options_(options) {}

  // Queues the GEMM. The plans of a new shape are tried on scratch memory. The fastest is used if its results agree
  // with those of the two kernels and it is faster; a plan that fails later is not used again. Where there is no room
  // to try them, the two kernels are used.
  void run(const ActivatedGemm& gemm, Planning planning);

  std::uint64_t fused_shapes() const;  // Shapes that one kernel computes.

 private:
  using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t, DType, core::Activation>;
  struct Scratch;

  static Key key_of(const ActivatedGemm& gemm);
  FusedPlan* plan_of(const ActivatedGemm& gemm, Planning planning);
  bool is_candidate(const ActivatedGemm& gemm) const;
  bool is_due(const Key& key, const ActivatedGemm& gemm, Planning planning);
  std::unique_ptr<FusedPlan> choose(const ActivatedGemm& gemm);
  std::unique_ptr<FusedPlan> fastest(const ActivatedGemm& gemm);
  bool is_right(FusedPlan& plan, const ActivatedGemm& gemm, const Scratch& scratch);

  Device& device_;
  FusedLibrary* library_;
  ActivatedGemmOptions options_;
  std::map<Key, std::unique_ptr<FusedPlan>> choices_;  // null: two kernels.
  std::vector<std::unique_ptr<FusedPlan>> refused_;    // Kept, since captured passes may hold their kernels.
  std::map<Key, const void*> seen_;                    // Shapes without a choice, and the weights of the first GEMM.
};

// Queues a GEMM, and a kernel for its bias and activation.
void run_by_two_kernels(Device& device, const ActivatedGemm& gemm);

}  // namespace torchclip::cuda
