// The device that a model runs on, by its name.
#pragma once

#include <string>

namespace torchclip::core {

struct Device {
  bool cuda = false;
  int index = 0;  // of a CUDA device
  // "cpu", "cuda:0" ...
  std::string name() const;
};

// "cpu", "cuda" (the first GPU) or "cuda:N". Throws Error(E_ARGUMENT) for another name.
Device device_named(const std::string& name);

// The same, and "auto": the first GPU, or the CPU where no GPU can be used; `note` then says why. Throws
// Error(E_CUDA_UNAVAILABLE) where a GPU is named that is not there.
Device choose_device(const std::string& name, std::string& note);

}  // namespace torchclip::core
