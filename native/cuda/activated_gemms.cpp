#include "activated_gemms.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "agreement.h"
#include "base/error.h"
#include "kernels.h"

namespace torchclip::cuda {
namespace {

constexpr int kTimedRuns = 5;
constexpr std::size_t kMostSeen = 1024;
constexpr std::uint8_t kNan = 0xff;  // Bytes that are NaN in every format.

bool is_aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

}  // namespace

// What a shape is tried on: rows whose memory the pass may not have written yet, an output that is nobody's, and what
// the two kernels give for it.
struct ActivatedGemms::Scratch {
  Scratch(Device& device, const GemmArgs& p)
      : count(p.rows * p.columns),
        row_bytes(static_cast<std::size_t>(p.rows * p.inner * size_of(p.dtype))),
        bytes(static_cast<std::size_t>(count * size_of(p.out_dtype))),
        rows(device.allocate(row_bytes)),
        bias(device.allocate(static_cast<std::size_t>(p.columns) * sizeof(float))),
        expected(device.allocate(bytes)),
        out(device.allocate(bytes)) {}

  // `gemm` with the rows and an output of the scratch memory.
  ActivatedGemm with(ActivatedGemm gemm, void* to) const {
    gemm.product.a = rows.get();
    gemm.product.out = to;
    return gemm;
  }

  std::int64_t count;
  std::size_t row_bytes, bytes;
  Memory rows, bias, expected, out;
};

void ActivatedGemms::run(const ActivatedGemm& gemm, Planning planning) {
  if (gemm.product.rows == 0) return;
  if (FusedPlan* plan = plan_of(gemm, planning)) {
    if (plan->run(gemm)) return;
    refused_.push_back(std::exchange(choices_[key_of(gemm)], nullptr));
  }
  run_by_two_kernels(device_, gemm);
}

std::uint64_t ActivatedGemms::fused_shapes() const {
  const auto is_fused = [](const auto& choice) { return choice.second != nullptr; };
  return static_cast<std::uint64_t>(std::count_if(choices_.begin(), choices_.end(), is_fused));
}

ActivatedGemms::Key ActivatedGemms::key_of(const ActivatedGemm& gemm) {
  const auto& p = gemm.product;
  return {p.rows, p.inner, p.columns, p.dtype, gemm.activation};
}

bool ActivatedGemms::is_candidate(const ActivatedGemm& gemm) const {
  const auto& p = gemm.product;
  const bool is_known = gemm.activation == Activation::quick_gelu || gemm.activation == Activation::gelu;
  const bool is_plain = size_of(p.dtype) == 2 && p.out_dtype == p.dtype && p.stride == p.columns && p.scale == 1 &&
                        !p.accumulate && !p.gelu_tanh && !p.bias;
  return library_ && is_known && is_plain && p.rows >= options_.least_rows && is_aligned(p.a) &&
         is_aligned(p.weights) && is_aligned(p.out) && is_aligned(gemm.bias);
}

FusedPlan* ActivatedGemms::plan_of(const ActivatedGemm& gemm, Planning planning) {
  if (!is_candidate(gemm)) return nullptr;
  const Key key = key_of(gemm);
  if (const auto at = choices_.find(key); at != choices_.end()) return at->second.get();
  if (!is_due(key, gemm, planning)) return nullptr;
  auto& choice = choices_[key] = choose(gemm);
  seen_.erase(key);
  return choice.get();
}

// Whether a shape without a choice gets one. The layers of a pass have weights of their own, so that weights that
// return mean another pass.
bool ActivatedGemms::is_due(const Key& key, const ActivatedGemm& gemm, Planning planning) {
  if (planning == Planning::never || choices_.size() >= options_.most_shapes) return false;
  if (planning == Planning::now) return true;
  if (seen_.size() >= kMostSeen) seen_.clear();
  const auto [at, is_new] = seen_.emplace(key, gemm.product.weights);
  return !is_new && at->second == gemm.product.weights;
}

std::unique_ptr<FusedPlan> ActivatedGemms::choose(const ActivatedGemm& gemm) {
  try {
    return fastest(gemm);
  } catch (const std::exception&) {
    if (core::current_failure().status != TORCHCLIP_E_OUT_OF_MEMORY) throw;
    return nullptr;
  }
}

std::unique_ptr<FusedPlan> ActivatedGemms::fastest(const ActivatedGemm& gemm) {
  auto plans = library_->plans(gemm);
  if (plans.empty()) return nullptr;
  const Scratch scratch(device_, gemm.product);
  const auto trial = scratch.with(gemm, scratch.out.get());
  fill_values(device_.stream(), DType::f32, gemm.product.columns, scratch.bias.get());
  fill_values(device_.stream(), gemm.product.dtype, gemm.product.rows * gemm.product.inner, scratch.rows.get());
  double least = device_.time(kTimedRuns, [&] { run_by_two_kernels(device_, trial); });
  std::unique_ptr<FusedPlan> best;
  for (auto& plan : plans) {
    if (!is_right(*plan, gemm, scratch)) continue;
    bool works = true;
    const double seconds = device_.time(kTimedRuns, [&] { works = works && plan->run(trial); });
    if (!works || seconds >= least) continue;
    least = seconds;
    best = std::move(plan);
  }
  return best;
}

// Whether a plan gives what the two kernels give. Rows of zeros leave the activation of a bias in [-1, 1), of which
// another activation would differ by more than rounding; among the results of real weights its error could drown.
bool ActivatedGemms::is_right(FusedPlan& plan, const ActivatedGemm& gemm, const Scratch& scratch) {
  const auto& p = gemm.product;
  const auto gives_the_same = [&](const float* bias) {
    auto expected = scratch.with(gemm, scratch.expected.get());
    auto tried = scratch.with(gemm, scratch.out.get());
    expected.bias = tried.bias = bias;
    device_.fill(scratch.out.get(), kNan, scratch.bytes);
    run_by_two_kernels(device_, expected);
    return plan.run(tried) && agrees(device_, scratch.expected.get(), scratch.out.get(), p.out_dtype, scratch.count);
  };
  device_.fill(scratch.rows.get(), 0, scratch.row_bytes);
  if (!gives_the_same(static_cast<const float*>(scratch.bias.get()))) return false;
  fill_values(device_.stream(), p.dtype, p.rows * p.inner, scratch.rows.get());
  return gives_the_same(gemm.bias);
}

void run_by_two_kernels(Device& device, const ActivatedGemm& gemm) {
  const auto& p = gemm.product;
  device.gemm(p);
  bias_activation(device.stream(), p.out, p.out_dtype, p.rows, p.columns, gemm.bias, DType::f32, gemm.activation);
}

}  // namespace torchclip::cuda
