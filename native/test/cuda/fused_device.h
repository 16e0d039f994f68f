// The tests' device with one kernel for GEMMs and their activations, from a library of the test. Its time is the sum of
// what the kernels cost, so that the test says which way is faster.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <string>

#include "activated_gemms.h"
#include "forwarding_device.h"

namespace torchclip::cuda {

class FusedDevice : public ForwardingDevice {
 public:
  void gemm(const GemmArgs& args) override {
    ++gemms;
    by_one = false;
    spent += 10;
    ForwardingDevice::gemm(args);
  }
  void activated_gemm(const ActivatedGemm& gemm) override {
    fused->run(gemm, may_plan_ ? Planning::now : Planning::never);
  }
  void run_captured(const std::string& key, const std::function<void()>& pass) override {
    const bool is_new = keys_.insert(key).second;
    ForwardingDevice::run_captured(key, [&] {
      may_plan_ = is_new;  // later ones are captured
      pass();
      may_plan_ = true;
    });
  }
  double time(int repeats, const std::function<void()>& work) override {
    const double before = spent;
    for (int i = 0; i < repeats; ++i) work();
    return (spent - before) / repeats;
  }
  DeviceCounts counts() const override {
    auto counts = ForwardingDevice::counts();
    counts.fused_gemms = fused->fused_shapes();
    return counts;
  }

  ActivatedGemms* fused = nullptr;
  double spent = 0;
  int gemms = 0;
  bool by_one = false;  // Whether one kernel ran last; the library of the test says so.

 private:
  std::set<std::string> keys_;
  bool may_plan_ = true;
};

}  // namespace torchclip::cuda
