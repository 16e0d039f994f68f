// A device that several threads use in turn.
#pragma once

#include <memory>
#include <mutex>
#include <utility>

#include "device.h"

namespace torchclip::cuda {

class SharedDevice {
 public:
  explicit SharedDevice(std::unique_ptr<Device> device) : device_(std::move(device)) {}

  // Calls work(Device&) when no other thread uses the device. When it throws, the slots are free again and unused
  // memory is returned to the system.
  template <typename Work>
  void use(Work&& work) {
    std::lock_guard lock(mutex_);
    try {
      std::forward<Work>(work)(*device_);
    } catch (...) {
      for (int slot = 0; slot < Device::kSlots; ++slot) device_->finish(slot);
      device_->free_cache();
      throw;
    }
  }

 private:
  std::mutex mutex_;
  std::unique_ptr<Device> device_;
};

}  // namespace torchclip::cuda
