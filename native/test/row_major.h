// Numbers in memory, read as a matrix.
#pragma once

#include <cstdint>

namespace torchclip::test {

// The rows of a matrix in row-major order: matrix[row][column]. Rows are `stride` elements apart.
template <typename T>
class RowMajor {
 public:
  RowMajor(T* first, std::int64_t stride) : first_(first), stride_(stride) {}
  T* operator[](std::int64_t row) const { return first_ + row * stride_; }

 private:
  T* first_;
  std::int64_t stride_;
};

}  // namespace torchclip::test
