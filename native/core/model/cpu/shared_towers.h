// Towers that several models of one process share: loading the same file again costs no second copy of its weights.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "model/cpu/tower.h"

namespace torchclip::core {

// What a runner computes with; null where a tower is not known. Never changed once made, so that several threads may
// use it at a time.
struct Towers {
  std::unique_ptr<const ImageTower> image;
  std::unique_ptr<const TextTower> text;
};

// The towers of `key`: those that a runner still holds, else what `make` gives. The key names all that the towers
// depend on: the file and its state, the precision, the kernels. Callers with the same key wait for the one that makes
// them.
std::shared_ptr<const Towers> shared_towers(const std::string& key, const std::function<Towers()>& make);

}  // namespace torchclip::core
