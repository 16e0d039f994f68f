// Dot products of few queries with many int8 rows, for the instruction set that this file is compiled for. Include it
// after steps.h.
#pragma once

#include "kernels/gemm.h"
#include "kernels/steps.h"

namespace {

using torchclip::core::Int8Dots;

template <typename Step, int Queries>
void int8_dots_of(const Int8Dots& d, std::int64_t first) {
  const std::int64_t units = d.stride / 4;
  for (std::int64_t r = 0; r < d.rows; ++r) {
    const auto* row = reinterpret_cast<const std::int32_t*>(d.data + r * d.stride);
    typename Step::Sum sum[std::size_t{Queries}];
#pragma GCC unroll 8
    for (int q = 0; q < Queries; ++q) sum[q] = Step::zero();
    for (std::int64_t u = 0; u < units; u += kLanes) {
      const Ints a = load_first(row + u, units - u);
      const auto* query = d.queries + first * d.query_stride + u * 4;
#pragma GCC unroll 8
      for (int q = 0; q < Queries; ++q) {
        sum[q] = Step::dot(sum[q], load_ints(reinterpret_cast<const char*>(query + q * d.query_stride)), a);
      }
    }
    float* out = d.out + r * kPanel + first;
#pragma GCC unroll 8
    for (int q = 0; q < Queries; ++q) {
      const auto exact = static_cast<float>(sum_of(sum[q]) - Step::kOffset * d.sums[r]);
      out[q] = exact * d.query_scales[first + q] * d.scales[r];  // The factors are in the same order as in gemm.h.
    }
  }
}

template <typename Step>
void int8_dots(const Int8Dots& d) {
  for (std::int64_t r = 0; r < d.rows; ++r) {
    for (int i = 0; i < kWide; ++i) store(d.out + r * kPanel + i * kLanes, zero());
  }
  std::int64_t q = 0;
  for (; q + 8 <= d.count; q += 8) int8_dots_of<Step, 8>(d, q);
  for (; q + 4 <= d.count; q += 4) int8_dots_of<Step, 4>(d, q);
  for (; q < d.count; ++q) int8_dots_of<Step, 1>(d, q);
}

}  // namespace
