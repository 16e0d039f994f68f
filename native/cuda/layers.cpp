#include "layers.h"

#include <cstddef>

namespace torchclip::cuda {

std::size_t Workspace::bytes() const {
  std::size_t n = 0;
  for (const auto& part : parts_) n += part.bytes();
  return n;
}

void Workspace::release() noexcept {
  device_.invalidate_graphs();
  for (auto& part : parts_) part = {};
}

GemmArgs product_of(const void* a, std::int64_t rows, const Linear& layer, void* out, DType out_dtype) {
  GemmArgs args;
  args.a = a;
  args.rows = rows;
  args.inner = layer.inner;
  args.weights = layer.weights.get();
  args.columns = layer.columns;
  args.dtype = layer.dtype;
  args.out = out;
  args.stride = layer.columns;
  args.scale = layer.weight_scale * layer.input_scale;
  args.out_dtype = out_dtype;
  return args;
}

void multiply(Device& device, const void* a, std::int64_t rows, const Linear& layer, void* out, DType out_dtype,
              bool accumulate, bool gelu_tanh) {
  auto args = product_of(a, rows, layer, out, out_dtype);
  args.bias = layer.bias.get();
  args.accumulate = accumulate;
  args.gelu_tanh = gelu_tanh;
  device.gemm(args);
}

void project(Device& device, Workspace& workspace, const LayerNorm* norm, const Linear& projection, const float* rows,
             std::int64_t count, std::int64_t width, float* out) {
  float* to = projection.columns ? workspace.grow<float>(Workspace::kEmbedded, count * width * 4) : out;
  layer_norm(device.stream(), rows, width, nullptr, count, width, norm ? norm->weights() : NormWeights{}, DType::f32,
             to);
  if (projection.columns) multiply(device, to, count, projection, out, DType::f32);
}

}  // namespace torchclip::cuda
