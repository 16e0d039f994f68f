// cuDNN's fused GEMMs for one stream of a GPU.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "activated_gemms.h"
#include "cudnn_library.h"

namespace torchclip::cuda {

class CudnnGemms final : public FusedLibrary {
 public:
  // What opens the library, and what ends the error that a refused launch leaves for the next one. The device must
  // outlive the GEMMs and their plans, and be the calling thread's own.
  using Open = const cudnn::Functions* (*)(std::string& problem);
  CudnnGemms(Device& device, Open open, void (*forget_error)())
      : device_(device), open_(open), forget_error_(forget_error) {}
  ~CudnnGemms() override;

  // The library is opened for the first shape. No plans if it is missing, refuses, or there is no room for them.
  std::vector<std::unique_ptr<FusedPlan>> plans(const ActivatedGemm& gemm) override;

 private:
  class Plan;

  bool start();

  Device& device_;
  Open open_;
  void (*forget_error_)();
  const cudnn::Functions* functions_ = nullptr;
  cudnn::Handle handle_ = nullptr;
  bool started_ = false;
};

}  // namespace torchclip::cuda
