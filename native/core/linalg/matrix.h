// Views of matrices, and the strides of their rows.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/kernels.h"

namespace torchclip::core {

// A matrix in memory that the view does not own: rows of `columns` elements, `stride` elements apart. It behaves as a
// pointer does: a copy names the same elements, and a const Matrix allows to write to them. A ConstMatrix does not.
template <bool kWritable>
struct MatrixView {
  template <typename T>
  using Element = std::conditional_t<kWritable, T, const T>;

  Element<void>* data = nullptr;
  std::int64_t rows = 0, columns = 0;
  std::int64_t stride = 0;  // elements, at least `columns`
  DType type = DType::f32;
  // s8 only: the scale and the sum of each row (see Functions::layer_norm).
  Element<float>* scales = nullptr;
  Element<std::int32_t>* sums = nullptr;

  // Returns the view of `rows` rows that follow each other without gaps.
  static MatrixView dense(Element<void>* data, std::int64_t rows, std::int64_t columns, DType type = DType::f32) {
    return {data, rows, columns, columns, type};
  }

  operator MatrixView<false>() const noexcept requires kWritable {
    return {data, rows, columns, stride, type, scales, sums};
  }

  std::int64_t stride_bytes() const { return stride * size_of(type); }

  // The first element of row i; T is the type that `type` names, or char.
  template <typename T>
  Element<T>* row(std::int64_t i) const {
    return reinterpret_cast<Element<T>*>(static_cast<Element<char>*>(data) + i * stride_bytes());
  }

  // Rows [begin, begin + count).
  MatrixView row_slice(std::int64_t begin, std::int64_t count) const {
    MatrixView slice = *this;
    slice.data = row<char>(begin);
    slice.rows = count;
    if (scales) slice.scales = scales + begin;
    if (sums) slice.sums = sums + begin;
    return slice;
  }

  // Columns [begin, begin + count); not of an s8 matrix, whose scales and sums belong to whole rows.
  MatrixView column_slice(std::int64_t begin, std::int64_t count) const {
    MatrixView slice = *this;
    slice.data = row<char>(0) + begin * size_of(type);
    slice.columns = count;
    return slice;
  }
};

using Matrix = MatrixView<true>;
using ConstMatrix = MatrixView<false>;

// The size in bytes of a row of `inner` elements as input of a matrix multiplication.
constexpr std::int64_t row_bytes(DType type, std::int64_t inner) {
  return round_up(inner, step_of(type)) * size_of(type);
}

// The stride at which rows of `bytes` bytes should be placed. At a multiple of 4 KiB the rows of a tile would all map
// to the same few lines of the L1 cache, which then cannot hold them; that costs 2 to 5 % of a multiplication's time.
constexpr std::int64_t spread(std::int64_t bytes) { return bytes % 4096 == 0 ? bytes + 128 : bytes; }
constexpr std::int64_t row_stride(DType type, std::int64_t inner) { return spread(row_bytes(type, inner)); }

}  // namespace torchclip::core
