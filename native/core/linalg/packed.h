// Weights in the layout of kernels.h, and the product of rows with them on a pool of threads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "linalg/thread_pool.h"

namespace torchclip::core {

// Memory of one long-lived block, aligned for the kernels and in huge pages where the system has them.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes);
  template <typename T>
  T* as() const noexcept {
    return static_cast<T*>(data_.get());
  }
  std::size_t bytes() const noexcept { return bytes_; }
  // Makes it at least that large; what it held is lost.
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

// What the products of a precision take on this machine.
inline DType input_type(const Context& context, Precision precision) {
  return context.kernels.product(precision).format.input;
}
// What runs instead of int8 where int8 does not do.
constexpr Precision without_int8(Precision precision) {
  return precision == Precision::int8 ? Precision::bf16 : precision;
}

// A Linear layer: out = A W^T + bias.
class Linear {
 public:
  Linear() = default;
  // weight: [columns, inner], row stride `inner`. `scale` multiplies columns (and their bias): scale[i], or all by
  // scale_all.
  Linear(const Context& context, Precision precision, const float* weight, const float* bias, std::int64_t columns,
         std::int64_t inner, const float* scale = nullptr, float scale_all = 1);

  DType type() const noexcept { return kernel_.format.input; }  // of the rows that it takes
  std::int64_t columns() const noexcept { return columns_; }
  std::int64_t inner() const noexcept { return inner_; }
  std::size_t bytes() const noexcept { return packed_.bytes() + bias_.size() * 8; }
  explicit operator bool() const noexcept { return columns_ > 0; }

  struct Input {
    const void* data;
    std::int64_t stride;                 // bytes
    const float* scales = nullptr;       // s8 alone
    const std::int32_t* sums = nullptr;  // s8 alone
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

  // The same on the calling thread alone.
  void multiply_here(const Input& in, std::int64_t rows, const Output& out) const;
  // One panel of 32 columns alone: out is [rows, 32].
  void multiply_panel(const Input& in, std::int64_t rows, const Output& out, std::int64_t panel) const;

 private:
  struct Span {
    std::int64_t begin, end;
  };
  // `next`: the panels that this thread multiplies with afterwards, for their weights to be fetched meanwhile.
  void part(const Input& in, const Output& out, Span rows, Span panels, Span next = {}) const;
  std::int64_t passes(const Output& out) const;
  const char* weights(std::int64_t panel, std::int64_t step) const;

  ProductKernel kernel_{};
  std::int64_t columns_ = 0, inner_ = 0, steps_ = 0;
  Buffer packed_;
  std::vector<float> bias_, scales_;
};

// Bytes of a row of `inner` elements of a product's input.
constexpr std::int64_t row_bytes(DType type, std::int64_t inner) {
  return round_up(inner, step_of(type)) * size_of(type);
}

// The distance at which rows of so many bytes should lie. At a multiple of 4 KiB the rows of a tile would all fall into
// the same few lines of the first cache, which then cannot hold them: 2 to 5 % of a product's time.
constexpr std::int64_t spread(std::int64_t bytes) { return bytes % 4096 == 0 ? bytes + 128 : bytes; }
constexpr std::int64_t row_stride(DType type, std::int64_t inner) { return spread(row_bytes(type, inner)); }

}  // namespace torchclip::core
