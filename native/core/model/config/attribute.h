// Attributes of the root module of an artifact: the sizes that other programs read in the file.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace torchclip::core {

// As the settings give it.
using Attribute = std::variant<std::int64_t, std::vector<double>>;

// As it lies in a file.
using PickledAttribute = std::variant<std::int64_t, double, bool, std::string, std::vector<double>>;

}  // namespace torchclip::core
