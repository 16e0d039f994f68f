// Linear layers and layer norms on a device, the memory that passes share, and sequences that are packed one after
// another.
#pragma once

#include <cstdint>

#include "device.h"
#include "kernels.h"

namespace torchclip::cuda {

// What an inner size is padded to where nothing else depends on it: split-K kernels of cuBLASLt 12.8 to 13.1 were seen
// to drop the rest of an inner size that is no multiple of the depth of their tiles.
constexpr std::int64_t kInnerMultiple = 64;

// A Linear layer on the device.
struct Linear {
  Memory weights, bias;
  std::int64_t columns = 0, inner = 0;  // Padding included; inner is a multiple of 8.
  DType dtype = DType::f32, bias_dtype = DType::f32;
  // Of E4M3, powers of two: what the stored weights and the stored inputs are multiplied with. Calibration raises the
  // input's scale from 0 (product_input.h).
  float weight_scale = 1, input_scale = 1;
  std::size_t bytes() const { return static_cast<std::size_t>(columns * inner * size_of(dtype)); }
};

struct LayerNorm {
  Memory gamma, beta;
  float eps = 0;
  NormWeights weights() const { return {static_cast<float*>(gamma.get()), static_cast<float*>(beta.get()), eps}; }
};

// Memory that the passes share. It grows to the largest pass so far.
class Workspace {
 public:
  explicit Workspace(Device& device) : device_(device) {}
  enum Name {
    kStream,
    kInput,
    kQkv,
    kHidden,
    kPooled,
    kQueries,
    kEmbedded,
    kPixels,
    kBetween,
    kDelta,        // of the attention (residual.h)
    kSecondDelta,  // of the MLP
    kActivated,    // the hidden rows of an MLP in E4M3
    kUnquantized,  // an input of an E4M3 product in bf16
    kNames
  };
  template <typename T = void>
  T* grow(Name name, std::int64_t bytes) {
    return static_cast<T*>(parts_[name].grow(device_, static_cast<std::size_t>(bytes)));
  }
  std::size_t bytes() const;
  void release() noexcept;

  // Whether the passes measure the inputs of E4M3 products (product_input.h).
  bool calibrating() const { return calibrating_; }
  void set_calibrating(bool calibrating) { calibrating_ = calibrating; }

 private:
  Device& device_;
  GrowingMemory parts_[kNames];
  bool calibrating_ = false;
};

// The sequences of a pass: their start positions on the device and their totals.
struct PackedSequences {
  std::int64_t sequences = 0, tokens = 0, longest = 0;
  bool uniform = false;
  const std::int32_t* starts = nullptr;  // [sequences + 1]
  const std::int32_t* pooled = nullptr;  // [sequences]: the rows of the pooled tokens; null: all rows are kept.
  const std::int32_t* ones = nullptr;    // 0, 1 ... sequences: the starts of sequences with one query each.
};

// `rows` rows of a times the layer, in the layer's type, without its bias.
GemmArgs product_of(const void* a, std::int64_t rows, const Linear& layer, void* out, DType out_dtype);

// out (+)= activation(a x layer + bias), for `rows` rows of a, in the layer's type.
void multiply(Device& device, const void* a, std::int64_t rows, const Linear& layer, void* out, DType out_dtype,
              bool accumulate = false, bool gelu_tanh = false);

// Norm (if any) and projection (if any) of pooled rows, to `out`.
void project(Device& device, Workspace& workspace, const LayerNorm* norm, const Linear& projection, const float* rows,
             std::int64_t count, std::int64_t width, float* out);

}  // namespace torchclip::cuda
