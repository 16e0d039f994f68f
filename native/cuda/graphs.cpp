#include "graphs.h"

#include <cuda_runtime.h>
#include <torch/version.h>

#include <exception>
#include <mutex>
#include <utility>

namespace torchclip::cuda {
namespace {

// libtorch notes the graphs that are captured in a set without a lock, that of the device's generator, and a graph that
// is destroyed takes itself out of it. Recursive: a pass whose memory moves while it is captured drops the graphs of
// earlier passes. Never destroyed: graphs may end with the process.
std::recursive_mutex& graphs_mutex() {
  static auto& mutex = *new std::recursive_mutex;
  return mutex;
}

// Before 2.14, a graph whose capture fails leaves a function in the allocator, which asks that graph about each later
// allocation.
constexpr bool kFailedGraphsStay = TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR < 14;

class CudaGraph final : public Graph {
 public:
  CudaGraph() : graph_(std::make_unique<at::cuda::CUDAGraph>()) {}
  ~CudaGraph() override {
    std::lock_guard lock(graphs_mutex());
    graph_ = nullptr;
  }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  void replay() override { graph_->replay(); }

  // Captures what `pass` launches.
  void capture(at::cuda::MempoolId_t pool, const std::function<void()>& pass) {
    std::exception_ptr problem;
    try {
      graph_->capture_begin(pool, cudaStreamCaptureModeThreadLocal);
      problem = failure_of(pass);
      graph_->capture_end();
    } catch (...) {
      if (!problem) problem = std::current_exception();
      if (kFailedGraphsStay) static_cast<void>(graph_.release());  // is never freed, for the allocator still asks it
    }
    cudaGetLastError();  // or the next kernel would be blamed
    if (problem) std::rethrow_exception(problem);
  }

 private:
  // What `pass` threw, which is thrown once the capture has ended.
  static std::exception_ptr failure_of(const std::function<void()>& pass) {
    try {
      pass();
      return nullptr;
    } catch (...) {
      return std::current_exception();
    }
  }

  std::unique_ptr<at::cuda::CUDAGraph> graph_;
};

}  // namespace

std::unique_ptr<Graph> CudaCapturer::capture(const std::function<void()>& pass) {
  std::lock_guard lock(graphs_mutex());
  auto captured = std::make_unique<CudaGraph>();
  captured->capture(pool_, pass);
  return captured;
}

}  // namespace torchclip::cuda
