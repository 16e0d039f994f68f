// Attributes of the root module of an artifact: the sizes that other programs read from the file.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace torchclip::core {

// A value that is derived from the settings.
using Attribute = std::variant<std::int64_t, std::vector<double>>;

// A value as it is stored in a file.
using PickledAttribute = std::variant<std::int64_t, double, bool, std::string, std::vector<double>>;

}  // namespace torchclip::core
