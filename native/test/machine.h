// The kernels of this machine with threads, and the rows that they multiply.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "linalg/matrix.h"
#include "linalg/packed.h"
#include "linalg/thread_pool.h"

namespace torchclip::test {

constexpr int kThreadCounts[] = {1, 3};

class Machine {
 public:
  explicit Machine(int threads) : pool_(threads) {}

  const core::Kernels& kernels() const { return *core::kernels(); }
  core::Context context() { return {kernels(), pool_}; }

 private:
  core::ThreadPool pool_;
};

// Rows of float32 [rows, inner] as the left operand of a matrix multiplication: converted to `type`, with the scales
// and the sums that int8 needs. `stride` in bytes.
struct ConvertedRows {
  ConvertedRows(const core::Kernels& kernels, const std::vector<float>& from, std::int64_t inner_size,
                core::DType to_type, std::int64_t row_stride)
      : type(to_type),
        rows(static_cast<std::int64_t>(from.size()) / inner_size),
        inner(inner_size),
        stride(row_stride) {
    const auto count = static_cast<std::size_t>(rows);
    bytes.resize(count * static_cast<std::size_t>(stride));
    scales.resize(count);
    sums.resize(count);
    kernels.layer_norm(from.data(), inner, rows, inner, nullptr, nullptr, 0, type, bytes.data(), stride, scales.data(),
                       sums.data());
  }

  core::ConstMatrix matrix() const {
    return {bytes.data(), rows, inner, stride / size_of(type), type, scales.data(), sums.data()};
  }

  core::DType type;
  std::int64_t rows, inner, stride;
  std::vector<char> bytes;
  std::vector<float> scales;
  std::vector<std::int32_t> sums;
};

}  // namespace torchclip::test
