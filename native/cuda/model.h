// CLIP's Transformer towers on a Device. They have the weights, settings and names of the fast CPU runner
// (core/model/cpu/tower.h), but another order of work. Sequences are packed, the residual stream is float32, matrix
// multiplication and attention use the model's element type, and the last layer runs for the pooled tokens only.
#pragma once

#include <memory>

#include "device.h"
#include "kernels.h"
#include "model/gpu_model.h"

namespace torchclip::cuda {

using core::Cancel;

// A Linear layer on the device.
struct Layer {
  Memory weights, bias;
  std::int64_t columns = 0, inner = 0;  // inner is padded to a multiple of 8.
  DType number = DType::f32, bias_number = DType::f32;
  std::size_t bytes() const { return static_cast<std::size_t>(columns * inner * size_of(number)); }
};

struct NormLayer {
  Memory gamma, beta;
  float eps = 0;
  NormWeights weights() const { return {static_cast<float*>(gamma.get()), static_cast<float*>(beta.get()), eps}; }
};

// Memory that the passes share. It grows to the largest pass so far.
class Workspace {
 public:
  explicit Workspace(Device& device) : device_(device) {}
  enum Name { kStream, kInput, kQkv, kHidden, kFew, kQueries, kEmbedded, kPixels, kBetween, kDecoded, kNames };
  template <typename T = void>
  T* grow(Name name, std::int64_t bytes) {
    return static_cast<T*>(grown(name, static_cast<std::size_t>(bytes)));
  }
  std::size_t bytes() const;
  void release() noexcept;

 private:
  void* grown(Name name, std::size_t bytes);
  Device& device_;
  struct Part {
    Memory memory;
    std::size_t bytes = 0;
  } parts_[kNames];
};

// The sequences of a pass: their start positions on the device and their totals.
struct Packed {
  std::int64_t sequences = 0, tokens = 0, longest = 0;
  bool uniform = false;
  const std::int32_t* starts = nullptr;  // [sequences + 1]
  const std::int32_t* pooled = nullptr;  // [sequences]: the rows of the pooled tokens; null: all rows are kept.
  const std::int32_t* ones = nullptr;    // 0, 1 ... sequences: the starts of sequences with one query each.
};

std::unique_ptr<core::GpuModel> make_model(std::unique_ptr<Device> device, const core::GpuModelSource& source);

}  // namespace torchclip::cuda
