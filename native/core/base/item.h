// Access to containers by signed places.
#pragma once

#include <cstddef>
#include <cstdint>

namespace torchclip::core {

// Element i. Sizes and places are std::int64_t in the core, but containers count in std::size_t.
template <typename Container>
constexpr decltype(auto) item(Container&& container, std::int64_t i) {
  return container[static_cast<std::size_t>(i)];
}

}  // namespace torchclip::core
