// The tests' device behind another one, which changes some of its functions.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "test_device.h"

namespace torchclip::cuda {

class ForwardingDevice : public Device {
 public:
  Stream stream() override { return device_->stream(); }
  std::string name() const override { return device_->name(); }
  std::int64_t multiprocessors() const override { return device_->multiprocessors(); }
  bool has_fp8() const override { return device_->has_fp8(); }
  DeviceCounts counts() const override { return device_->counts(); }
  Memory allocate(std::size_t bytes) override { return device_->allocate(bytes); }
  void free_cache() noexcept override { device_->free_cache(); }
  void upload(void* to, const void* from, std::size_t bytes) override { device_->upload(to, from, bytes); }
  void download(void* to, const void* from, std::size_t bytes) override { device_->download(to, from, bytes); }
  void fill(void* to, std::uint8_t value, std::size_t bytes) override { device_->fill(to, value, bytes); }
  void* input_slot(int slot, std::size_t bytes) override { return device_->input_slot(slot, bytes); }
  void* host_slot(int slot, std::size_t bytes) override { return device_->host_slot(slot, bytes); }
  void upload_async(int slot, const void* from, std::size_t bytes) override {
    device_->upload_async(slot, from, bytes);
  }
  void begin_batch(int slot) override { device_->begin_batch(slot); }
  void end_batch(int slot, void* to, const void* from, std::size_t bytes) override {
    device_->end_batch(slot, to, from, bytes);
  }
  void finish(int slot) override { device_->finish(slot); }
  void parallel(std::int64_t count, const std::function<void(std::int64_t)>& work) override {
    device_->parallel(count, work);
  }
  void gemm(const GemmArgs& args) override { device_->gemm(args); }
  void activated_gemm(const ActivatedGemm& gemm) override { device_->activated_gemm(gemm); }
  const void* attend(const Attention& attention) override { return device_->attend(attention); }
  bool jpeg_size(const std::uint8_t* data, std::size_t bytes, std::int32_t& width, std::int32_t& height) override {
    return device_->jpeg_size(data, bytes, width, height);
  }
  void* decode_slot(int slot, std::size_t bytes) override { return device_->decode_slot(slot, bytes); }
  void decode_jpegs(JpegJob* jobs, std::int64_t count) override { device_->decode_jpegs(jobs, count); }
  void run_captured(const std::string& key, const std::function<void()>& pass) override {
    device_->run_captured(key, pass);
  }
  void invalidate_graphs() noexcept override { device_->invalidate_graphs(); }
  double time(int repeats, const std::function<void()>& work) override { return device_->time(repeats, work); }

 private:
  std::unique_ptr<Device> device_ = test_device();
};

}  // namespace torchclip::cuda
