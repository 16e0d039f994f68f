// Captured passes as CUDA graphs, in memory pools of libtorch's allocator.
#pragma once

#include <ATen/cuda/CUDAGraph.h>

#include <memory>

#include "captured_passes.h"

namespace torchclip::cuda {

// Captures what is launched on the current stream.
class CudaCapturer final : public GraphCapturer {
 public:
  CudaCapturer() { new_pool(); }
  void new_pool() override { pool_ = at::cuda::graph_pool_handle(); }
  std::unique_ptr<Graph> capture(const std::function<void()>& pass) override;

 private:
  at::cuda::MempoolId_t pool_;
};

}  // namespace torchclip::cuda
