#include "model/cpu/shared_towers.h"

#include <map>
#include <mutex>

namespace torchclip::core {
namespace {

struct Slot {
  std::mutex making;
  std::weak_ptr<const Towers> towers;
};

// Keeps the slot of its key alive, so that the registry knows the towers as long as they exist.
struct Held {
  Towers towers;
  std::shared_ptr<Slot> slot;
};

// The slot of a key; slots that nobody holds are forgotten.
std::shared_ptr<Slot> slot_of(const std::string& key) {
  static std::mutex mutex;
  static auto* slots = new std::map<std::string, std::weak_ptr<Slot>>();  // never destroyed: threads may outlive it
  std::lock_guard lock(mutex);
  std::erase_if(*slots, [](const auto& entry) { return entry.second.expired(); });
  auto& known = (*slots)[key];
  auto slot = known.lock();
  if (!slot) {
    slot = std::make_shared<Slot>();
    known = slot;
  }
  return slot;
}

}  // namespace

std::shared_ptr<const Towers> shared_towers(const std::string& key, const std::function<Towers()>& make) {
  const auto slot = slot_of(key);
  std::lock_guard lock(slot->making);
  if (auto towers = slot->towers.lock()) return towers;
  const auto held = std::make_shared<const Held>(Held{make(), slot});
  std::shared_ptr<const Towers> towers(held, &held->towers);
  slot->towers = towers;
  return towers;
}

}  // namespace torchclip::core
