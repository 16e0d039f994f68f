// The device that a model runs on, and its name.
#pragma once

#include <string>

namespace torchclip::core {

struct Device {
  bool cuda = false;
  int index = 0;  // The index of a CUDA device.
  // "cpu", "cuda:0" ...
  std::string name() const;
};

// Accepts "cpu", "cuda" (the first GPU) or "cuda:N". Throws Error(E_ARGUMENT) for another name.
Device device_named(const std::string& name);

// Accepts the names of device_named() and "auto", which is the first GPU, or the CPU if no GPU can be used; `note` then
// says why. Throws Error(E_CUDA_UNAVAILABLE) if the named GPU is not available.
Device choose_device(const std::string& name, std::string& note);

}  // namespace torchclip::core
