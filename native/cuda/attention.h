// Attention by the fastest kernel for its shape: libtorch's flash attention in 16 bits from Ampere on, its
// memory-efficient kernel otherwise, or that of short_attention.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <tuple>

#include "device.h"

namespace torchclip::cuda {

class TorchAttention {
 public:
  // flash: whether the GPU has libtorch's flash kernels.
  TorchAttention(c10::DeviceIndex index, bool flash) : device_(at::kCUDA, index), flash_(flash) {}

  // Queues the attention on the current stream. The result is [query_tokens, heads, width], valid until the next call.
  const void* run(const Attention& attention);
  // Gives the last result back to the allocator.
  void release() { result_ = at::Tensor(); }

 private:
  // A view of packed rows in the form that the kernel takes; flash: that of the flash kernel.
  at::Tensor view(const Attention& a, const void* data, std::int64_t tokens, std::int64_t each, std::int64_t stride,
                  bool flash) const;
  std::optional<at::Tensor> starts(const Attention& a, const std::int32_t* data) const;

  at::Device device_;
  bool flash_;
  at::Tensor result_;
};

class GpuAttention {
 public:
  GpuAttention(Device& device, c10::DeviceIndex index, bool flash)
      : device_(device), has_tensor_cores_(flash), torch_(index, flash) {}

  // As TorchAttention::run. If `may_time`, the kernel of short sequences is timed once for each new shape that it
  // computes; it is used where its results agree with libtorch's and it is faster. Otherwise libtorch's is used.
  const void* run(const Attention& attention, bool may_time);
  void release();

  std::uint64_t short_shapes() const {
    return short_shapes_;
  }  // Shapes for which the kernel of short sequences is used.

 private:
  using Key = std::tuple<DType, std::int64_t, std::int64_t, std::int64_t, std::int64_t, bool, bool, bool>;

  bool uses_short(const Attention& attention, bool may_time);
  bool wins(const Attention& attention);
  void* short_result(const Attention& attention);

  Device& device_;
  bool has_tensor_cores_;  // With bf16: from Ampere on.
  TorchAttention torch_;
  Memory short_;
  std::map<Key, bool> choices_;
  std::uint64_t short_shapes_ = 0;
};

}  // namespace torchclip::cuda
