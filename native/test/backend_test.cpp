// The boundary to the backends: how they are found, opened and refused, and what passes through it. The backends are
// those of native/test/backends, in plain C and in C++ with another standard library.
//   core_backend_test ARTIFACT FOLDER_OF_BACKENDS
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "backend/edge.h"
#include "base/file.h"
#include "check.h"
#include "files.h"
#include "model/artifact/artifact.h"
#include "model/artifact_verifier.h"
#include "model/backend_library.h"
#include "model/device_rows.h"
#include "model/generic_runner.h"
#include "model/gpu_model.h"
#include "model/runner.h"
#include "model/torch_library.h"
#include "model/torchscript_export.h"

using namespace torchclip::core;
using namespace torchclip::test;

namespace {

const std::string& artifact_path() { return arguments().at(0); }
std::string folder_of(const std::string& backend) { return arguments().at(1) + "/" + backend; }
std::string fake_libtorch() { return folder_of("libtorch"); }

BackendPlaces places_of(const std::string& backend) { return {{folder_of(backend)}, fake_libtorch()}; }

const torchclip_torch_table& torch_fake() {
  static const TorchLibrary library = open_torch(places_of("whole"));
  return *library.table;
}

const torchclip_cuda_table& cuda_fake() {
  return open_table<torchclip_cuda_table>(find_backend(places_of("whole"), "torchclip_cuda"), TORCHCLIP_CUDA_ENTRY);
}

PixelTable table_of(const Artifact& artifact) { return {artifact.config().mean.data(), artifact.config().std.data()}; }

GenericOptions both_towers(int threads = 1) {
  GenericOptions options;
  options.threads = threads;
  options.images = options.texts = true;
  return options;
}

// Why a backend is refused.
std::string refusal_of(const BackendPlaces& places) {
  const auto outcome = outcome_of([&] { open_torch(places); });
  CHECK(outcome == TORCHCLIP_E_ADDON);
  return outcome.message;
}

GpuModel gpu_model_of(const Artifact& artifact, const PixelTable& pixels, const Weights& weights, bool texts = true) {
  const GpuModelSource source{0,
                              "fp16",
                              weights,
                              artifact.config_json(),
                              artifact.config().embed_dim,
                              artifact.config().context_length,
                              artifact.config().transform,
                              pixels,
                              false,
                              true,
                              texts};
  return {cuda_fake(), source};
}

}  // namespace

TEST_CASE("a backend that is not there: the message names the file and the folders") {
  const auto message = refusal_of({{"/no/such/folder", "/nor/this"}, fake_libtorch()});
  CHECK(message ==
        std::string("libtorchclip_torch") + kLibrarySuffix + " is missing (looked for in /no/such/folder, /nor/this)");
}

TEST_CASE("a table of another version, of another release or with fewer functions is refused") {
  const auto file = [](const char* backend) { return folder_of(backend) + "/libtorchclip_torch" + kLibrarySuffix; };
  const auto size = sizeof(torchclip_torch_table);
  CHECK(refusal_of(places_of("version")) ==
        file("version") + " has a table of version 99; this torchclip needs version 2");
  CHECK(refusal_of(places_of("small")) == file("small") + " has a table of " + std::to_string(size - 8) +
                                              " bytes; this torchclip needs " + std::to_string(size));
  CHECK(refusal_of(places_of("release")) ==
        file("release") + " belongs to torchclip 0.0.1; this is torchclip " TORCHCLIP_VERSION);
  CHECK(refusal_of(places_of("nothing")) == file("nothing") + " gives no table of functions");
}

TEST_CASE("a library that is no backend is refused") {
  const auto message = refusal_of(places_of("symbol"));
  CHECK(message.ends_with(" does not export torchclip_torch(): it is no backend of this torchclip"));
  TemporaryFile text;
  text.write("no library");
  CHECK(outcome_of([&] { open_backend(text.path(), TORCHCLIP_TORCH_ENTRY, 8); }) == TORCHCLIP_E_ADDON);
}

TEST_CASE("libtorch is opened from the folder that is named, and from no other") {
  BackendPlaces places = places_of("whole");
  CHECK(open_torch(places).libtorch == fake_libtorch());
  places.libtorch = "/no/such/libtorch";
  const auto message = refusal_of(places);
  CHECK(message.find("a library of libtorch does not load: /no/such/libtorch/lib/libc10") == 0);
}

TEST_CASE("without a named folder, libtorch is the one that is recorded beside the backend") {
  BackendPlaces places = places_of("whole");
  places.libtorch = "";
  const std::string record = folder_of("whole") + "/" + kLibtorchRecord;
  std::remove(record.c_str());
  CHECK(refusal_of(places).find("no folder of libtorch is known") == 0);
  std::ofstream(record) << fake_libtorch() << "\n";
  CHECK(open_torch(places).libtorch == fake_libtorch());
  std::remove(record.c_str());
}

TEST_CASE("the generic runner: tensors, pixels, tokens and the table of pixels pass through") {
  const Artifact artifact(artifact_path());
  const auto pixels = table_of(artifact);
  GenericRunner runner(torch_fake(), artifact, pixels, both_towers());
  std::uint64_t sum = 0;
  for (const auto* tower : {&artifact.config().image, &artifact.config().text}) {
    for (const auto& [name, shape] : tower->shapes) {
      const auto& tensor = artifact.tensors().at(name);
      std::vector<unsigned char> bytes(tensor.bytes);
      artifact.read_bytes(tensor, bytes.data());
      for (const auto byte : bytes) sum += byte;
    }
  }
  CHECK(runner.bytes() == sum);
  CHECK(runner.logit_scale() == 2.5f);

  const auto dim = static_cast<std::size_t>(artifact.config().embed_dim);
  const auto image_bytes = static_cast<std::size_t>(3 * artifact.config().image_size * artifact.config().image_size);
  std::vector<std::uint8_t> images(2 * image_bytes, 0);
  images[image_bytes] = 200;
  std::vector<float> out(2 * dim);
  runner.encode_pixels(images.data(), 2, ImageOutput::embedding, out.data(), nullptr);
  CHECK(out[1] == pixels.value[0][0] + 1);
  CHECK(out[dim + 3] == pixels.value[0][200] + 3);
  const auto pooled_dim = static_cast<std::size_t>(artifact.config().image.pooled_dim);
  std::vector<float> pooled(2 * pooled_dim);
  runner.encode_pixels(images.data(), 2, ImageOutput::pooled, pooled.data(), nullptr);
  CHECK(pooled[1] == pixels.value[0][0] - 1);
  CHECK(pooled[pooled_dim + 3] == pixels.value[0][200] - 3);
  const std::vector<std::int32_t> ids{4, 5, 6, 7, 8, 9};
  runner.encode_tokens(ids.data(), 2, 3, out.data(), nullptr);
  CHECK(out[1] == 5);
  CHECK(out[dim + 5] == 9);
}

TEST_CASE("a tower that is not asked for is not read") {
  const Artifact artifact(artifact_path());
  const auto pixels = table_of(artifact);
  CHECK(GenericRunner(torch_fake(), artifact, pixels, GenericOptions{}).bytes() == 0);
}

TEST_CASE("a failure of the backend keeps its code and its message") {
  const Artifact artifact(artifact_path());
  const auto pixels = table_of(artifact);
  const auto failure = [&](int threads) {
    return outcome_of([&] { GenericRunner(torch_fake(), artifact, pixels, both_towers(threads)); });
  };
  const auto refused = failure(77);
  CHECK(refused == TORCHCLIP_E_MODEL_UNSAFE);
  CHECK(refused.message == "77 threads are refused: \xE2\x9C\x93");
  const auto unknown_tensor = failure(78);  // of the core, through the backend and back
  CHECK(unknown_tensor == TORCHCLIP_E_INTERNAL);
  CHECK(unknown_tensor.message ==
        "the libtorch backend asks for 4 bytes of no.such.tensor, which the model does not have");
  const auto unknown_status = failure(79);
  CHECK(unknown_status == TORCHCLIP_E_INTERNAL);
  CHECK(unknown_status.message == std::string(sizeof(torchclip_backend_error::message) - 1, 'x'));
}

TEST_CASE("the flag of a cancelled call reaches the backend") {
  const Artifact artifact(artifact_path());
  GenericRunner runner(torch_fake(), artifact, table_of(artifact), both_towers());
  std::vector<float> out(static_cast<std::size_t>(artifact.config().embed_dim));
  const std::int32_t id = 1;
  const volatile std::int32_t cancel = 1;
  CHECK(outcome_of([&] { runner.encode_tokens(&id, 1, 1, out.data(), &cancel); }) == TORCHCLIP_E_ABORTED);
}

TEST_CASE("rows on a device") {
  const std::vector<float> rows{1, 2, 3, 4};
  const Device device{true, 3};
  const DeviceRows on_device(torch_fake(), device, rows.data(), 2, 2);
  const std::vector<float> query{10, 1};
  std::vector<float> out(2);
  on_device.inner_products(query.data(), 1, out.data());
  CHECK(first_difference(out, std::vector<float>{12, 34}) == "");
  const Device other{true, 0};
  CHECK(outcome_of([&] { DeviceRows(torch_fake(), other, rows.data(), 2, 2); }) == TORCHCLIP_E_CUDA_UNAVAILABLE);
}

TEST_CASE("models and searches on a GPU") {
  const Artifact artifact(artifact_path());
  const auto pixels = table_of(artifact);
  const auto weights = artifact.weights();
  GpuModel model = gpu_model_of(artifact, pixels, weights);
  const auto norm = weights("visual.ln_post.weight");
  CHECK(model.has_images());
  CHECK(model.has_texts());
  CHECK(!gpu_model_of(artifact, pixels, weights, false).has_texts());
  CHECK(model.name() == "fp16 (a fake)");
  CHECK(model.memory().weights == 4 * static_cast<std::uint64_t>(norm.rows()));
  CHECK(model.memory().workspace == 5);
  CHECK(model.memory().graphs == 6);
  CHECK(model.memory().refused_graphs == 7);
  CHECK(model.memory().graph_problem == std::string(sizeof(torchclip_cuda_counts::graph_problem) - 1, 'x'));

  const auto dim = static_cast<std::size_t>(artifact.config().embed_dim);
  const std::vector<std::uint8_t> image(
      static_cast<std::size_t>(3 * artifact.config().image_size * artifact.config().image_size), 7);
  std::vector<float> out(2 * dim);
  model.encode_pixels(image.data(), 1, ImageOutput::embedding, out.data(), false, nullptr);
  CHECK(out[2] == 7 * norm.data[2]);
  model.encode_pixels(image.data(), 1, ImageOutput::pooled, out.data(), false, nullptr);
  CHECK(out[0] == -7);
  model.encode_pixels(image.data(), 1, ImageOutput::pooled, out.data(), true, nullptr);
  CHECK(out[0] == -6);
  const ImageInput images[] = {{{image.data(), 30, 512, 3}}, {{image.data(), 0, 0, 0}, 100}};
  std::uint8_t failed[] = {0, 0};
  model.encode_images(images, 2, ImageOutput::embedding, out.data(), failed, false, nullptr);
  CHECK(out[1] == 30.5f);
  CHECK(failed[0] == 0);
  CHECK(failed[1] == 1);
  failed[1] = 0;
  model.encode_images(images, 2, ImageOutput::pooled, out.data(), failed, false, nullptr);
  CHECK(out[0] == -30.5f);
  model.encode_images(images, 2, ImageOutput::embedding, out.data(), failed, true, nullptr);
  CHECK(out[0] == 31.5f);
  const std::vector<std::int32_t> ids{1, 1, 0, 0, 1, 0};
  model.encode_tokens(ids.data(), 2, 3, out.data(), false, nullptr);
  CHECK(out[0] == 2);
  CHECK(out[dim] == 1);
  model.encode_tokens(ids.data(), 2, 3, out.data(), true, nullptr);
  CHECK(out[0] == -2);
}

TEST_CASE("exceptions of a backend with another standard library become errors of the core") {
  const Artifact artifact(artifact_path());
  const auto pixels = table_of(artifact);
  const auto weights = artifact.weights();
  GpuModel model = gpu_model_of(artifact, pixels, weights);
  std::vector<float> out(static_cast<std::size_t>(artifact.config().embed_dim));
  const std::vector<std::int32_t> ids(1000, 1);
  const auto too_long = outcome_of([&] { model.encode_tokens(ids.data(), 1, 1000, out.data(), false, nullptr); });
  CHECK(too_long == TORCHCLIP_E_INTERNAL);
  CHECK(too_long.message == "a text of 1000 tokens");
  const volatile std::int32_t cancel = 1;
  const std::uint8_t pixel = 0;
  CHECK(outcome_of([&] { model.encode_pixels(&pixel, 1, ImageOutput::embedding, out.data(), false, &cancel); }) ==
        TORCHCLIP_E_OUT_OF_MEMORY);
  const auto no_device = outcome_of([&] {
    call(cuda_fake().similarity, 4, out.data(), std::int64_t{1}, out.data(), std::int64_t{1}, 1, out.data());
  });
  CHECK(no_device.message == "no device 4");
}

TEST_CASE("what the core throws in a callback passes through a backend with another standard library") {
  const Artifact artifact(artifact_path());
  const auto pixels = table_of(artifact);
  const Weights unreadable = [](const std::string& name) -> Tensor {
    if (name == "no.such.tensor") return {};
    throw Error(TORCHCLIP_E_READ, name + " cannot be read");
  };
  const auto outcome = outcome_of([&] { gpu_model_of(artifact, pixels, unreadable); });
  CHECK(outcome == TORCHCLIP_E_READ);
  CHECK(outcome.message == "visual.ln_post.weight cannot be read");
}

// The library of the process: opened once, by the first call here.
TEST_CASE("features that need libtorch find the backend, or say what they need and the command that installs it") {
  set_backend_places({{"/no/such/folder"}, fake_libtorch()});
  RunnerOptions options;
  options.device = "cpu";
  options.generic = true;
  const auto missing = outcome_of([&] { Runner(artifact_path(), options); });
  CHECK(missing == TORCHCLIP_E_ADDON);
  CHECK(missing.message.find("the generic runner (TorchScript) needs libtorch, and libtorchclip_torch") == 0);
  CHECK(missing.message.find("npx torchclip setup torch") != std::string::npos);
  CHECK(missing.message.find("npm run build") != std::string::npos);

  set_backend_places(places_of("whole"));
  Runner runner(artifact_path(), options);
  CHECK(runner.info().image_runner == "generic fp32 (TorchScript)");
  const Artifact artifact(artifact_path());
  const auto unsafe = outcome_of([] { verify_artifact(artifact_path()); });
  const auto modules = std::to_string(artifact.config().modules().size());
  CHECK(unsafe == TORCHCLIP_E_MODEL_UNSAFE);
  CHECK(unsafe.message.find(modules + " modules, the last \"\"; " + std::to_string(artifact.config().shapes().size()) +
                            " tensors; code of ") == 0);
  CHECK(unsafe.message.ends_with(" bytes: class"));
}

TEST_CASE("third-party exports: files, texts and attributes pass through") {
  set_backend_places(places_of("whole"));
  TemporaryFile file, output;
  file.write({1, 2, 3});
  CHECK(probe_torchscript(file.path(), 10, 20) == 36);
  const auto beyond = outcome_of([&] { probe_torchscript(file.path(), 1, 20); });
  CHECK(beyond == TORCHCLIP_E_MODEL_CORRUPT);
  CHECK(beyond.message.find(file.path()) == 0);

  const Artifact artifact(artifact_path());
  wrap_torchscript(file.path(), artifact.config_json(), "{}", output.path());
  const File written(output.path());
  const auto text = written.read_text(0, written.size());
  CHECK(text.find(std::to_string(artifact.config_json().size()) + " 2 ") == 0);
  CHECK(text.find(" image_size=" + std::to_string(artifact.config().image_size)) != std::string::npos);
}
