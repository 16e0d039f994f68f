// Weights in the layout of kernels.h, and their multiplication with rows on a thread pool.
#pragma once

#include <vector>

#include "kernels/kernels.h"
#include "linalg/buffer.h"
#include "linalg/matrix.h"
#include "linalg/thread_pool.h"

namespace torchclip::core {

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

// What follows the sums of a matrix multiplication before they are stored: activation(x) + residual, or
// relu(x + residual) as in ResNets.
struct Epilogue {
  Activation activation = Activation::none;
  ConstMatrix residual = {};  // f32, of the result's shape, and may be the result; without data nothing is added.
};

// A Linear layer: x W^T + bias.
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

  // out = epilogue(in W^T + bias). in: [rows, inner] of type(), with rows of at least row_bytes(type(), inner) bytes;
  // out: f32 or bf16 [rows, columns].
  void multiply(const Context& context, const ConstMatrix& in, const Matrix& out, const Epilogue& epilogue = {}) const;

  // As multiply(), on the calling thread only.
  void multiply_here(const ConstMatrix& in, const Matrix& out, const Epilogue& epilogue = {}) const;
  // Multiplies with one panel of 32 columns, without the bias; out is f32 [rows, 32].
  void multiply_panel(const ConstMatrix& in, const Matrix& out, std::int64_t panel) const;

 private:
  struct Span {
    std::int64_t begin, end;
  };
  // Multiplies a block of rows with some panels. `next`: the panels that this thread multiplies with afterwards, whose
  // weights are prefetched in the meantime.
  void multiply_block(const ConstMatrix& in, const Matrix& out, const Epilogue& epilogue, Span rows, Span panels,
                      Span next = {}) const;
  std::int64_t passes(const Matrix& out, const Epilogue& epilogue) const;
  const char* weights(std::int64_t panel, std::int64_t step) const;

  GemmKernel kernel_{};
  std::int64_t columns_ = 0, inner_ = 0, steps_ = 0;
  Buffer packed_;
  std::vector<float> bias_, scales_;
};

}  // namespace torchclip::core
