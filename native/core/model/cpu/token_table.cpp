#include "model/cpu/token_table.h"

#include <algorithm>

namespace torchclip::core {

namespace {

constexpr std::int64_t kRowsPerTask = 256;

}  // namespace

TokenTable::TokenTable(const Context& context, Precision precision, const Tensor& vectors)
    : stored_(precision == Precision::int8 ? Precision::fp16 : precision), inner_(vectors.inner()) {
  const std::int64_t count = vectors.rows() * inner_;
  vectors_ =
      Buffer(static_cast<std::size_t>(count) * (stored_ == Precision::fp32 ? sizeof(float) : sizeof(std::uint16_t)));
  std::uint16_t (*const stored_as)(float) = stored_ == Precision::bf16 ? to_bf16 : to_fp16;
  const std::int64_t block = kRowsPerTask * inner_;
  context.pool.parallel_for((count + block - 1) / block, [&](std::int64_t task) {
    const std::int64_t first = task * block, values = std::min(block, count - first);
    const float* from = vectors.data + first;
    if (stored_ == Precision::fp32) {
      std::copy_n(from, values, vectors_.as<float>() + first);
    } else {
      std::transform(from, from + values, vectors_.as<std::uint16_t>() + first, stored_as);
    }
  });
}

void TokenTable::read(const Kernels& kernels, std::int64_t id, float* to) const {
  const std::int64_t first = id * inner_;
  if (stored_ == Precision::fp32) {
    std::copy_n(vectors_.as<float>() + first, inner_, to);
    return;
  }
  const auto widen = stored_ == Precision::bf16 ? kernels.widen_bf16 : kernels.widen_fp16;
  widen(vectors_.as<std::uint16_t>() + first, inner_, to);
}

}  // namespace torchclip::core
