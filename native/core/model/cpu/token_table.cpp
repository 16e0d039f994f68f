#include "model/cpu/token_table.h"

#include <algorithm>

namespace torchclip::core {

TokenTable::TokenTable(Precision precision, const Tensor& vectors)
    : stored_(precision == Precision::int8 ? Precision::fp16 : precision), inner_(vectors.inner()) {
  const std::int64_t count = vectors.rows() * inner_;
  vectors_ =
      Buffer(static_cast<std::size_t>(count) * (stored_ == Precision::fp32 ? sizeof(float) : sizeof(std::uint16_t)));
  if (stored_ == Precision::fp32) {
    std::copy_n(vectors.data, count, vectors_.as<float>());
  } else {
    std::uint16_t (*const stored_as)(float) = stored_ == Precision::bf16 ? to_bf16 : to_fp16;
    std::transform(vectors.data, vectors.data + count, vectors_.as<std::uint16_t>(), stored_as);
  }
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
