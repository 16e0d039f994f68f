// The towers of an artifact as modules of their own, loaded by libtorch as a server of PyTorch models loads them.
//   torch_tower_module_test ARTIFACT
#include "model/artifact/tower_module.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include "base/file.h"
#include "check.h"
#include "files.h"
#include "model_inputs.h"

using namespace torchclip::core;
using namespace torchclip::test;

namespace {

// What the module in a file returns.
Rows outputs_of(const std::string& file, const at::Tensor& input) {
  const c10::InferenceMode no_gradients;
  auto module = torch::jit::load(file);
  const auto output = module.forward({input}).toTensor().contiguous();
  REQUIRE((output.scalar_type() == at::kFloat));
  const float* values = output.const_data_ptr<float>();
  return Rows(values, values + output.numel());
}

// What both towers give in libtorch for the images and texts of `in`.
Embeddings from_libtorch(const Inputs& in, std::int64_t side, StoredType type) {
  const TemporaryFile image, text;
  write_tower_module(arguments().at(0), TowerKind::image, type, image.path());
  write_tower_module(arguments().at(0), TowerKind::text, type, text.path());
  const auto pixels = at::from_blob(const_cast<std::uint8_t*>(in.pixels.data()), {in.images, side, side, 3}, at::kByte);
  const auto ids = at::from_blob(const_cast<std::int32_t*>(in.ids.data()), {in.texts, in.length}, at::kInt);
  return {outputs_of(image.path(), pixels), outputs_of(text.path(), ids.to(at::kLong))};
}

std::string bytes_of(const std::string& path) {
  const File file(path);
  std::string bytes(static_cast<std::size_t>(file.size()), 0);
  file.read(0, bytes.data(), bytes.size());
  return bytes;
}

}  // namespace

TEST_CASE("a tower module gives the embeddings of the fast runner: <= 1e-5 in float32, cosine >= 0.9999 in float16") {
  RunnerOptions options;
  options.device = "cpu";
  Runner runner(arguments().at(0), options);
  const auto in = inputs_for(runner.info());
  const auto expected = encode(runner, in);
  const auto full = from_libtorch(in, runner.info().image_size, StoredType::f32);
  REQUIRE(full.images.size() == expected.images.size());
  REQUIRE(full.texts.size() == expected.texts.size());
  CHECK(largest_difference(full.images, expected.images) <= 1e-5);
  CHECK(largest_difference(full.texts, expected.texts) <= 1e-5);
  const auto half = from_libtorch(in, runner.info().image_size, StoredType::f16);
  const std::int64_t dim = runner.info().embed_dim;
  CHECK(least_cosine(half.images, expected.images, dim) >= 0.9999);
  CHECK(least_cosine(half.texts, expected.texts, dim) >= 0.9999);
}

TEST_CASE("a tower module has the tensors and the code of its tower alone, and the same bytes each time") {
  const TemporaryFile first, second;
  write_tower_module(arguments().at(0), TowerKind::text, StoredType::f32, first.path());
  write_tower_module(arguments().at(0), TowerKind::text, StoredType::f32, second.path());
  const auto bytes = bytes_of(first.path());
  CHECK(bytes == bytes_of(second.path()));
  CHECK(bytes.find("visual") == std::string::npos);
  CHECK(bytes.size() < bytes_of(arguments().at(0)).size());
}
