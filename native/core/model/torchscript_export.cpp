#include "model/torchscript_export.h"

#include <map>
#include <variant>
#include <vector>

#include "backend/edge.h"
#include "base/file.h"
#include "model/config/model_config.h"
#include "model/program_view.h"
#include "model/torch_library.h"

namespace torchclip::core {
namespace {

constexpr const char* kFeature = "a third-party TorchScript export";

std::vector<torchclip_attribute> c_attributes(const std::map<std::string, Attribute>& attributes) {
  std::vector<torchclip_attribute> out;
  for (const auto& [name, value] : attributes) {
    if (const auto* whole = std::get_if<std::int64_t>(&value)) {
      out.push_back({name.c_str(), whole, nullptr, 0});
    } else {
      const auto& numbers = std::get<std::vector<double>>(value);
      out.push_back({name.c_str(), nullptr, numbers.data(), numbers.size()});
    }
  }
  return out;
}

}  // namespace

std::int64_t probe_torchscript(const std::string& path, std::int64_t image_size, std::int64_t context_length) {
  const File file(path);
  const auto view = file_view(file);
  std::int64_t dim = 0;
  call(torch_table(kFeature).probe_export, &view, image_size, context_length, &dim);
  return dim;
}

void wrap_torchscript(const std::string& path, const std::string& config, const std::string& tokenizer,
                      const std::string& output) {
  const auto settings = ModelConfig::parse(config);
  const auto attributes = settings.attributes();
  const auto list = c_attributes(attributes);
  const File file(path);
  torchclip_torch_wrapping wrapping{};
  wrapping.size = sizeof wrapping;
  wrapping.file = file_view(file);
  wrapping.output = output.c_str();
  wrapping.config = config.data();
  wrapping.config_bytes = config.size();
  wrapping.tokenizer = tokenizer.data();
  wrapping.tokenizer_bytes = tokenizer.size();
  wrapping.attributes = list.data();
  wrapping.attribute_count = list.size();
  call(torch_table(kFeature).wrap_export, &wrapping);
}

}  // namespace torchclip::core
