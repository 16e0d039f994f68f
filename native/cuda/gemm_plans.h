// Which of the proposals of a library computes a GEMM. Nothing here knows the library: blas.h uses it with cuBLASLt,
// and the tests with a model of it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "device.h"
#include "size_steps.h"

namespace torchclip::cuda {

// The size for which a plan of `n` rows or columns is timed: n itself up to 64, above it the next of eight sizes
// between two powers of two. Shapes of one cell share a plan, so that batches of any sizes are timed a few times only.
// That an algorithm's result is right is verified for the timed size alone, not for the others of its cell.
inline std::int64_t plan_cell(std::int64_t n) { return n <= 64 ? n : next_of_eight(n); }

// How a proposal did in a trial.
struct GemmTrial {
  bool works = false;   // The library ran it.
  bool agrees = false;  // Its result is that of the first proposal, up to rounding.
  float milliseconds = 0;
};

// A library of GEMMs, which proposes algorithms for a shape.
template <typename Algorithm>
class GemmLibrary {
 public:
  virtual ~GemmLibrary() = default;
  // Proposals for a shape, the most promising one first; none if the library cannot compute it. If `epilogue`, they
  // also apply bias and activation.
  virtual std::vector<Algorithm> propose(const GemmArgs& args, bool epilogue) = 0;
  // Whether an algorithm that was proposed for another shape of the cell computes this one.
  virtual bool accepts(const GemmArgs& args, bool epilogue, const Algorithm& algorithm) = 0;
  // Runs each proposal on scratch memory; an empty result if there is no room for it.
  virtual std::vector<GemmTrial> try_out(const GemmArgs& args, bool epilogue, const std::vector<Algorithm>& all) = 0;
};

template <typename Algorithm>
class GemmPlans {
 public:
  struct Plan {
    Algorithm algorithm{};
    bool epilogue = true;  // false: a kernel applies bias and activation, because the library cannot.
  };

  explicit GemmPlans(GemmLibrary<Algorithm>& library) : library_(library) {}

  // Returns the plan of the shape's cell. If `may_time`, the plan of a new cell is the fastest proposal whose result
  // agrees with that of the first; otherwise it is the first. Throws std::runtime_error if the library has none.
  Plan choose(const GemmArgs& args, int alignment, bool may_time) {
    const Key key{plan_cell(args.rows), args.inner,      plan_cell(args.columns), args.dtype, args.out_dtype,
                  args.bias != nullptr, args.accumulate, args.gelu_tanh,          alignment};
    if (const auto at = plans_.find(key); at != plans_.end()) {
      if (library_.accepts(args, at->second.epilogue, at->second.algorithm)) return at->second;
      return make(args, false);
    }
    return plans_.emplace(key, make(args, may_time)).first->second;
  }

  std::uint64_t timed() const { return timed_; }  // Plans that were chosen by timing.

 private:
  using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t, DType, DType, bool, bool, bool, int>;

  Plan make(const GemmArgs& args, bool may_time) {
    Plan plan;
    auto proposals = library_.propose(args, true);
    if (proposals.empty() && (args.bias || args.gelu_tanh)) {
      plan.epilogue = false;
      proposals = library_.propose(args, false);
    }
    if (proposals.empty()) {
      throw std::runtime_error("cuBLASLt has no GEMM of " + std::to_string(args.rows) + " x " +
                               std::to_string(args.inner) + " by " + std::to_string(args.inner) + " x " +
                               std::to_string(args.columns));
    }
    const bool timed = may_time && proposals.size() > 1;
    plan.algorithm = proposals[timed ? fastest(args, plan.epilogue, proposals) : 0];
    return plan;
  }

  std::size_t fastest(const GemmArgs& args, bool epilogue, const std::vector<Algorithm>& proposals) {
    const auto trials = library_.try_out(args, epilogue, proposals);
    ++timed_;
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < trials.size(); ++i) {
      if (!trials[i].works || !trials[i].agrees) continue;
      if (!best || trials[i].milliseconds < trials[*best].milliseconds) best = i;
    }
    return best.value_or(0);
  }

  GemmLibrary<Algorithm>& library_;
  std::map<Key, Plan> plans_;
  std::uint64_t timed_ = 0;
};

}  // namespace torchclip::cuda
