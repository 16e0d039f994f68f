// Towers that several models of one process share, so that loading a file again makes no second copy of its weights.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "model/cpu/tower.h"

namespace torchclip::core {

// Returns the tower of `key` that a runner still holds, or otherwise the result of `make`; null if `make` returns null.
// The key names everything that the tower depends on: the file and its state, the precision and the kernels. Callers
// with the same key wait for the caller that makes the tower. A tower is never changed once made, so that several
// threads may use it at the same time. Tower: ImageTower or TextTower; the two have separate keys.
template <typename Tower>
std::shared_ptr<const Tower> shared_tower(const std::string& key, const std::function<std::unique_ptr<Tower>()>& make);

}  // namespace torchclip::core
