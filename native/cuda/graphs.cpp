#include "graphs.h"

#include <cuda_runtime.h>

#include <exception>
#include <mutex>

namespace torchclip::cuda {
namespace {

class CudaGraph final : public Graph {
 public:
  void replay() override { graph_.replay(); }
  at::cuda::CUDAGraph& graph() { return graph_; }

 private:
  at::cuda::CUDAGraph graph_;
};

}  // namespace

std::unique_ptr<Graph> CudaCapturer::capture(const std::function<void()>& pass) {
  // libtorch notes each capture in the generator of the device, in a set without a lock.
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  auto captured = std::make_unique<CudaGraph>();
  std::exception_ptr problem;
  captured->graph().capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
  try {
    pass();
  } catch (...) {
    problem = std::current_exception();  // thrown once the capture has ended
  }
  try {
    captured->graph().capture_end();
  } catch (...) {
    if (!problem) problem = std::current_exception();
  }
  cudaGetLastError();  // or the next kernel would be blamed
  if (problem) std::rethrow_exception(problem);
  return captured;
}

}  // namespace torchclip::cuda
