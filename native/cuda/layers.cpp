#include "layers.h"

#include <cstddef>

namespace torchclip::cuda {

std::size_t Workspace::bytes() const {
  std::size_t n = 0;
  for (const auto& part : parts_) n += part.bytes;
  return n;
}

void Workspace::release() noexcept {
  device_.forget_passes();
  for (auto& part : parts_) part = {};
}

void* Workspace::grown(Name name, std::size_t bytes) {
  auto& part = parts_[name];
  if (bytes > part.bytes) {
    device_.forget_passes();
    part = {};  // before the new memory is asked for
    part.memory = device_.allocate(bytes);
    part.bytes = bytes;
  }
  return part.memory.get();
}

void multiply(Device& device, const void* a, std::int64_t rows, const Linear& layer, void* out, DType out_number,
              bool accumulate, bool gelu_tanh) {
  GemmArgs p;
  p.a = a;
  p.rows = rows;
  p.inner = layer.inner;
  p.weights = layer.weights.get();
  p.columns = layer.columns;
  p.number = layer.number;
  p.bias = layer.bias.get();
  p.out = out;
  p.stride = layer.columns;
  p.out_number = out_number;
  p.accumulate = accumulate;
  p.gelu_tanh = gelu_tanh;
  device.gemm(p);
}

void project(Device& device, Workspace& workspace, const LayerNorm* norm, const Linear& projection, const float* rows,
             std::int64_t count, std::int64_t width, float* out) {
  float* to = projection.columns ? workspace.grow<float>(Workspace::kEmbedded, count * width * 4) : out;
  layer_norm(device.stream(), rows, width, nullptr, count, width, norm ? norm->weights() : NormWeights{}, DType::f32,
             to);
  if (projection.columns) multiply(device, to, count, projection, out, DType::f32);
}

}  // namespace torchclip::cuda
