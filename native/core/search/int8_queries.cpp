#include "search/int8_queries.h"

#include <algorithm>
#include <cmath>

namespace torchclip::core {
namespace {

constexpr std::int64_t kFewQueries = 8;
constexpr std::int64_t kRegister = 64;

}  // namespace

Int8Queries::Int8Queries(const Context& context, const float* queries, std::int64_t count, std::int64_t dim)
    : count_(count), stride_(round_up(dim, kRegister)) {
  if (count > kFewQueries) {
    packed_ = Linear(context, Precision::int8, queries, nullptr, count, dim);
    return;
  }
  // As pack_panel rounds weights.
  const std::int32_t weight_max = context.kernels.weight_max;
  rounded_.assign(static_cast<std::size_t>(count * stride_), static_cast<std::uint8_t>(weight_max + 1));
  for (std::int64_t q = 0; q < count; ++q) {
    const float* x = queries + q * dim;
    float largest = 0;
    for (std::int64_t i = 0; i < dim; ++i) largest = std::max(largest, std::abs(x[i]));
    const float inverse = largest > 0 ? static_cast<float>(weight_max) / largest : 0.0f;
    scales_.push_back(largest / static_cast<float>(weight_max));
    for (std::int64_t i = 0; i < dim; ++i) {
      rounded_[static_cast<std::size_t>(q * stride_ + i)] =
          static_cast<std::uint8_t>(static_cast<std::int32_t>(std::nearbyintf(x[i] * inverse)) + weight_max + 1);
    }
  }
}

void Int8Queries::scores(const Kernels& kernels, const char* data, std::int64_t stride, const float* scales,
                         const std::int32_t* sums, std::int64_t rows, std::int64_t panel, float* out) const {
  if (packed_) {
    const ConstMatrix in{data, rows, packed_.inner(), stride, DType::s8, scales, sums};
    return packed_.multiply_panel(in, Matrix::dense(out, rows, kPanel), panel);
  }
  Int8Dots d;
  d.data = data;
  d.stride = stride;
  d.rows = rows;
  d.scales = scales;
  d.sums = sums;
  d.queries = rounded_.data();
  d.query_stride = stride_;
  d.count = count_;
  d.query_scales = scales_.data();
  d.out = out;
  kernels.int8_dots(d);
}

}  // namespace torchclip::core
