// The residual stream of some rows, and what the branches of the blocks add to it.
//
// Products of float32 and fp16 add to the stream themselves, because what one adds may exceed fp16's largest number.
// Those of bf16 and E4M3 store what they add, in bf16, and the next layer norm reads it beside the stream. The stream
// itself is written once a block: a block of `width` w then moves 26 w bytes a row between its products, with products
// that add to it 28 w (bf16).
#pragma once

#include <cstdint>

#include "kernels.h"
#include "layers.h"

namespace torchclip::cuda {

class Residual {
 public:
  // x: float [rows, width]. dtype: what the model computes in between products.
  Residual(Device& device, Workspace& workspace, float* x, std::int64_t rows, std::int64_t width, DType dtype)
      : device_(device), workspace_(workspace), x_(x), rows_(rows), width_(width), dtype_(dtype) {}

  // What a product of a branch gives, and its bias: float32, or the dtype of the model.
  static DType branch_dtype(DType dtype) { return dtype == DType::f16 ? DType::f32 : dtype; }

  std::int64_t rows() const { return rows_; }

  // stream += input x layer + bias. input: [rows, layer.inner].
  void add(const void* input, const Linear& layer) {
    if (adds_at_once()) return multiply(device_, input, rows_, layer, x_, DType::f32, true);
    if (pending_ == kMost) settle();
    const auto name = pending_ == 0 ? Workspace::kDelta : Workspace::kSecondDelta;
    auto* delta = workspace_.grow<Bf16>(name, rows_ * width_ * size_of(dtype_));
    multiply(device_, input, rows_, layer, delta, dtype_);
    deltas_[pending_++] = delta;
  }

  // out = norm(stream), [rows, width]. format: the model's dtype, or E4M3 for one of bf16.
  void normalize(const NormWeights& norm, const NumberFormat& format, void* out) {
    if (adds_at_once()) {
      return layer_norm(device_.stream(), x_, width_, nullptr, rows_, width_, norm, format.dtype, out);
    }
    const bool stores = pending_ == kMost;
    add_norm(device_.stream(), x_, deltas(), stores, rows_, width_, norm, format, out);
    if (stores) pending_ = 0;
  }

  // The stream with all that was added.
  float* settle() {
    if (pending_ > 0) add_norm(device_.stream(), x_, deltas(), true, rows_, width_, {}, {dtype_, 1}, nullptr);
    pending_ = 0;
    return x_;
  }

 private:
  static constexpr int kMost = 2;  // deltas at a time

  bool adds_at_once() const { return branch_dtype(dtype_) == DType::f32; }
  Deltas deltas() const { return {pending_ > 0 ? deltas_[0] : nullptr, pending_ > 1 ? deltas_[1] : nullptr}; }

  Device& device_;
  Workspace& workspace_;
  float* x_;
  std::int64_t rows_, width_;
  DType dtype_;
  const Bf16* deltas_[kMost] = {};
  int pending_ = 0;  // deltas that the stream lacks
};

}  // namespace torchclip::cuda
