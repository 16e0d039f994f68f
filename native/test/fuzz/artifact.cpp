// The reader of model artifacts. The first byte chooses a part of it, so that each is reached without a whole archive
// around it: 'z' the archive, 'p' the pickle of the tensors, 's' the settings.
#include "model/artifact/artifact.h"

#include <string>

#include "fuzz.h"

using namespace torchclip;

namespace {

void read_archive(std::string_view bytes) {
  static const fuzz::MemoryFile file;
  file.write(bytes);
  const core::Artifact artifact(file.path());
  const auto weights = artifact.weights();
  for (const auto& [name, tensor] : artifact.tensors()) {
    fuzz::expect(tensor.offset + tensor.bytes <= bytes.size(), "a tensor lies in the file");
    const auto values = weights(name);
    volatile float last = values.data[tensor.elements() - 1];
    (void)last;
  }
}

void read_pickle(std::string_view bytes) {
  const auto module = core::read_module_pickle(bytes);
  fuzz::expect(module.tensors.size() <= bytes.size(), "a tensor takes more than a byte");
}

void read_settings(std::string_view bytes) {
  const auto config = core::ModelConfig::parse(std::string(bytes));
  fuzz::expect(config.image_size >= 1 && config.context_length >= 1 && config.vocab_size >= 1, "sizes are positive");
  fuzz::expect(config.transform.resized >= config.transform.size, "the crop lies in the resized image");
  const auto shapes = config.shapes();
  config.check_shapes(core::Shapes(shapes));
  for (const auto& [name, shape] : shapes) {
    for (const auto axis : shape) fuzz::expect(axis == -1 || axis >= 1, "an axis is positive");
  }
  fuzz::expect(config.third_party || !config.modules().back().source.empty(), "the root has methods");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = fuzz::text_of(data + 1, size - 1);
  fuzz::accepts([&] {
    if (data[0] == 'z') read_archive(bytes);
    if (data[0] == 'p') read_pickle(bytes);
    if (data[0] == 's') read_settings(bytes);
  });
  return 0;
}
