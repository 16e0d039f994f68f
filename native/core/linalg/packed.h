// Weights in the layout of kernels.h, and their multiplication with rows on a thread pool.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "linalg/thread_pool.h"

namespace torchclip::core {

// One long-lived memory block, aligned for the kernels and in huge pages if the system supports them.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes);
  template <typename T>
  T* as() const noexcept {
    return static_cast<T*>(data_.get());
  }
  std::size_t bytes() const noexcept { return bytes_; }
  // Grows the buffer to at least `bytes`; its previous contents are lost.
  void grow(std::size_t bytes) {
    if (bytes > bytes_) *this = Buffer(bytes);
  }

 private:
  std::shared_ptr<void> data_;
  std::size_t bytes_ = 0;
};

struct Context {
  const Kernels& kernels;
  ThreadPool& pool;
};

// The element type of the rows that a matrix multiplication of this precision takes on this machine.
inline DType input_type(const Context& context, Precision precision) {
  return context.kernels.gemm(precision).format.input;
}
// The precision that is used where int8 is not possible.
constexpr Precision without_int8(Precision precision) {
  return precision == Precision::int8 ? Precision::bf16 : precision;
}

// A Linear layer: out = A W^T + bias.
class Linear {
 public:
  Linear() = default;
  // weight: [columns, inner], row stride `inner`. Column i and its bias are multiplied by scale[i], or all columns by
  // scale_all.
  Linear(const Context& context, Precision precision, const float* weight, const float* bias, std::int64_t columns,
         std::int64_t inner, const float* scale = nullptr, float scale_all = 1);

  DType type() const noexcept { return kernel_.format.input; }  // The element type of the input rows.
  std::int64_t columns() const noexcept { return columns_; }
  std::int64_t inner() const noexcept { return inner_; }
  std::size_t bytes() const noexcept { return packed_.bytes() + bias_.size() * 8; }
  explicit operator bool() const noexcept { return columns_ > 0; }

  struct Input {
    const void* data;
    std::int64_t stride;                 // bytes
    const float* scales = nullptr;       // s8 only
    const std::int32_t* sums = nullptr;  // s8 only
  };
  struct Output {
    void* data;
    std::int64_t stride;  // elements
    DType type = DType::f32;
    Activation activation = Activation::none;
    const float* residual = nullptr;
    std::int64_t residual_stride = 0;
  };
  void multiply(const Context& context, const Input& in, std::int64_t rows, const Output& out) const;

  // As multiply(), on the calling thread only.
  void multiply_here(const Input& in, std::int64_t rows, const Output& out) const;
  // Multiplies with one panel of 32 columns; out is [rows, 32].
  void multiply_panel(const Input& in, std::int64_t rows, const Output& out, std::int64_t panel) const;

 private:
  struct Span {
    std::int64_t begin, end;
  };
  // `next`: the panels that this thread multiplies with afterwards, whose weights are prefetched in the meantime.
  void part(const Input& in, const Output& out, Span rows, Span panels, Span next = {}) const;
  std::int64_t passes(const Output& out) const;
  const char* weights(std::int64_t panel, std::int64_t step) const;

  GemmKernel kernel_{};
  std::int64_t columns_ = 0, inner_ = 0, steps_ = 0;
  Buffer packed_;
  std::vector<float> bias_, scales_;
};

// The size in bytes of a row of `inner` elements as input of a multiplication.
constexpr std::int64_t row_bytes(DType type, std::int64_t inner) {
  return round_up(inner, step_of(type)) * size_of(type);
}

// The stride at which rows of `bytes` bytes should be placed. At a multiple of 4 KiB the rows of a tile would all map
// to the same few lines of the L1 cache, which then cannot hold them; that costs 2 to 5 % of a multiplication's time.
constexpr std::int64_t spread(std::int64_t bytes) { return bytes % 4096 == 0 ? bytes + 128 : bytes; }
constexpr std::int64_t row_stride(DType type, std::int64_t inner) { return spread(row_bytes(type, inner)); }

}  // namespace torchclip::core
