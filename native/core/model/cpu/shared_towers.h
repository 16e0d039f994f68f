// Towers that several models of one process share, so that loading a file again makes no second copy of its weights.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "model/cpu/tower.h"

namespace torchclip::core {

// The towers of a runner; null if a tower is not supported. They are never changed once made, so that several threads
// may use them at the same time.
struct Towers {
  std::unique_ptr<const ImageTower> image;
  std::unique_ptr<const TextTower> text;
};

// Returns the towers of `key` that a runner still holds, or otherwise the result of `make`. The key names everything
// that the towers depend on: the file and its state, the precision and the kernels. Callers with the same key wait for
// the caller that makes the towers.
std::shared_ptr<const Towers> shared_towers(const std::string& key, const std::function<Towers()>& make);

}  // namespace torchclip::core
