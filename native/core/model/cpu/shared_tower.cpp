#include "model/cpu/shared_tower.h"

#include <map>
#include <mutex>
#include <utility>

namespace torchclip::core {
namespace {

template <typename Tower>
struct Slot {
  std::mutex making;
  std::weak_ptr<const Tower> tower;
};

// Keeps the slot of its key alive, so that the registry knows the tower as long as it exists.
template <typename Tower>
struct Held {
  std::unique_ptr<Tower> tower;
  std::shared_ptr<Slot<Tower>> slot;
};

// The slot of a key; slots that nobody holds are forgotten.
template <typename Tower>
std::shared_ptr<Slot<Tower>> slot_of(const std::string& key) {
  static std::mutex mutex;
  static auto* slots = new std::map<std::string, std::weak_ptr<Slot<Tower>>>();  // never destroyed: threads outlive it
  std::lock_guard lock(mutex);
  std::erase_if(*slots, [](const auto& entry) { return entry.second.expired(); });
  auto& known = (*slots)[key];
  auto slot = known.lock();
  if (!slot) {
    slot = std::make_shared<Slot<Tower>>();
    known = slot;
  }
  return slot;
}

}  // namespace

template <typename Tower>
std::shared_ptr<const Tower> shared_tower(const std::string& key, const std::function<std::unique_ptr<Tower>()>& make) {
  const auto slot = slot_of<Tower>(key);
  std::lock_guard lock(slot->making);
  if (auto tower = slot->tower.lock()) return tower;
  auto made = make();
  if (!made) return nullptr;
  const auto held = std::make_shared<Held<Tower>>(Held<Tower>{std::move(made), slot});
  std::shared_ptr<const Tower> tower(held, held->tower.get());
  slot->tower = tower;
  return tower;
}

template std::shared_ptr<const ImageTower> shared_tower(const std::string&,
                                                        const std::function<std::unique_ptr<ImageTower>()>&);
template std::shared_ptr<const TextTower> shared_tower(const std::string&,
                                                       const std::function<std::unique_ptr<TextTower>()>&);

}  // namespace torchclip::core
