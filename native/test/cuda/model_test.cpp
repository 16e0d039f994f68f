// The CUDA towers on the tests' device (the host's model of a GPU, or the GPU) through the runner.
//   cuda_model_test ARTIFACT
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "forwarding_device.h"
#include "image/preprocess.h"
#include "model.h"
#include "model/artifact/artifact.h"
#include "model/config/pixel_table.h"
#include "model_check.h"
#include "model_inputs.h"
#include "model_source.h"
#include "test_device.h"

using namespace torchclip::cuda;
using namespace torchclip::test;
namespace core = torchclip::core;

namespace {

const std::string& artifact() { return arguments().at(0); }

// Row `row` of rows [dim].
std::span<const float> row_of_rows(const Rows& rows, std::size_t row, std::size_t dim) {
  return std::span(rows).subspan(row * dim, dim);
}

// The rows of one image in two passes of different sizes: the same bits on the host; a GPU may add in another order.
void check_same_row(std::span<const float> got, std::span<const float> expected) {
  if (is_host_device()) {
    CHECK(first_difference(got, expected) == "");
    return;
  }
  const Rows a(got.begin(), got.end()), b(expected.begin(), expected.end());
  CHECK(1 - least_cosine(a, b, static_cast<std::int64_t>(a.size())) < 1e-6);
}

// A model of the artifact on the tests' device, without the runner.
struct BareModel {
  explicit BareModel(std::unique_ptr<Device> device = test_device())
      : model(make_model(std::move(device), source_of(file, table))) {}

  const core::Artifact file{artifact()};
  const core::PixelTable table{file.config().mean.data(), file.config().std.data()};
  std::unique_ptr<Model> model;
};

// A file that the tests' device decodes where it begins with "OK", and fails at where it begins with "NO".
std::vector<std::uint8_t> test_jpeg(const char* begins, std::uint8_t width, std::uint8_t height,
                                    const std::vector<std::uint8_t>& pixels) {
  const std::uint8_t header[] = {static_cast<std::uint8_t>(begins[0]), static_cast<std::uint8_t>(begins[1]), width,
                                 height};
  std::vector<std::uint8_t> file(sizeof header + pixels.size());
  std::copy(pixels.begin(), pixels.end(), std::copy_n(header, sizeof header, file.begin()));
  return file;
}

core::ImageInput as_file(const std::vector<std::uint8_t>& bytes) { return {{bytes.data(), 0, 0, 0}, bytes.size()}; }

// Three images of any sizes, and what preprocess() makes of them.
struct SizedImages {
  explicit SizedImages(const core::ModelInfo& info) {
    const auto side = static_cast<std::size_t>(info.image_size);
    for (const auto& [width, height] : {std::pair{300, 200}, {100, 333}, {info.image_size, info.image_size}}) {
      kept.push_back(striped_image(width, height, static_cast<std::uint32_t>(width)));
      images.push_back({{kept.back().data(), width, height, 3}});
      std::vector<std::uint8_t> resized(side * side * 3);
      core::preprocess(images.back().image, info.transform, resized.data());
      pixels.insert(pixels.end(), resized.begin(), resized.end());
    }
  }

  Rows resized_here(core::Runner& runner) const {
    Rows out(static_cast<std::size_t>(3 * runner.info().embed_dim));
    runner.encode_pixels(pixels.data(), 3, out.data(), true);
    return out;
  }

  std::vector<std::vector<std::uint8_t>> kept;
  std::vector<core::ImageInput> images;
  std::vector<std::uint8_t> pixels;
};

}  // namespace

TEST_CASE("the towers agree with TorchScript: fp32, fp16 and bf16") { check_model(artifact(), true); }

TEST_CASE("images of any sizes through the device's own resize: the same pixels, so the same embeddings") {
  core::Runner runner(artifact(), on_device("fp32"));
  const SizedImages sized(runner.info());
  const auto resized_here = sized.resized_here(runner);
  Rows resized_there(resized_here.size());
  runner.encode_images(sized.images.data(), 3, resized_there.data(), nullptr, true);
  CHECK(first_difference(resized_there, resized_here) == "");
}

TEST_CASE("the pooled features of images of any sizes, between batches of embeddings") {
  core::Runner runner(artifact(), on_device("fp32"));
  const SizedImages sized(runner.info());
  const auto embeddings = sized.resized_here(runner);
  Rows here(static_cast<std::size_t>(3 * runner.info().pooled_dim)), there(here.size());
  const auto pooled = core::ImageOutput::pooled;
  runner.encode_pixels(sized.pixels.data(), 3, here.data(), false, nullptr, pooled);
  runner.encode_images(sized.images.data(), 3, there.data(), nullptr, false, nullptr, pooled);
  CHECK(first_difference(there, here) == "");
  CHECK(first_difference(sized.resized_here(runner), embeddings) == "");
}

TEST_CASE("embeddings and pooled features, normalised or not, in turn: each has captured passes of its own") {
  constexpr std::int64_t kRows = 3;
  core::Runner runner(artifact(), on_device("fp32"));
  const SizedImages sized(runner.info());
  for (int call = 0; call < 4; ++call) {  // uncaptured twice, since the results' memory may grow, captured, replayed
    for (const auto output : {core::ImageOutput::pooled, core::ImageOutput::embedding}) {
      const std::int64_t dim = runner.info().dim_of(output);
      Rows plain(static_cast<std::size_t>(kRows * dim)), normalized(plain.size());
      runner.encode_pixels(sized.pixels.data(), kRows, plain.data(), false, nullptr, output);
      runner.encode_pixels(sized.pixels.data(), kRows, normalized.data(), true, nullptr, output);
      for (std::size_t r = 0; r < kRows; ++r) {
        const auto row = row_of_rows(plain, r, static_cast<std::size_t>(dim));
        const double norm = std::sqrt(std::inner_product(row.begin(), row.end(), row.begin(), 0.0));
        CHECK(std::abs(norm - 1) > 1e-3);
        for (std::size_t i = 0; i < row.size(); ++i) {
          const double expected = row[i] / norm;
          REQUIRE(std::abs(normalized[r * row.size() + i] - expected) < 1e-6);
        }
      }
    }
  }
  CHECK(runner.memory().graphs >= 4);
  CHECK(runner.memory().refused_graphs == 0);
}

TEST_CASE("files that the device decodes beside decoded images: a file that it refuses or fails at hurts no other") {
  core::Runner runner(artifact(), on_device("fp32"));
  const SizedImages sized(runner.info());
  const auto tall = striped_image(100, 222, 5);
  const auto good = test_jpeg("OK", 100, 222, tall), fails = test_jpeg("NO", 100, 222, tall);
  const std::vector<std::uint8_t> other{'G', 'I', 'F', '8'};
  const std::array<core::ImageInput, 4> mixed{as_file(fails), sized.images[0], as_file(good), as_file(other)};
  const core::ImageInput decoded{{tall.data(), 100, 222, 3}};
  const auto dim = static_cast<std::size_t>(runner.info().embed_dim);
  Rows got(4 * dim), alone(dim);
  std::array<std::uint8_t, 4> failed{};
  runner.encode_images(mixed.data(), 4, got.data(), failed.data(), true);
  runner.encode_images(&decoded, 1, alone.data(), nullptr, true);
  CHECK(failed[0] == 1);
  CHECK(failed[1] == 0);
  CHECK(failed[3] == 1);
  const auto resized_here = sized.resized_here(runner);
  check_same_row(row_of_rows(got, 1, dim), row_of_rows(resized_here, 0, dim));
  const bool decodes = failed[2] == 0;  // a GPU's decoder does not know the tests' format
  if (decodes) check_same_row(row_of_rows(got, 2, dim), alone);
  CHECK(outcome_of([&] { runner.encode_images(mixed.data(), 4, got.data(), nullptr, true); }) == TORCHCLIP_E_ARGUMENT);
}

TEST_CASE("a deterministic runner: a row alone has the bits that it has beside others") {
  auto options = on_device("bf16");
  options.deterministic = true;
  core::Runner runner(artifact(), options);
  const auto in = inputs_for(runner.info());
  const auto dim = static_cast<std::size_t>(runner.info().embed_dim);
  const std::int64_t image_bytes = 3 * runner.info().image_size * runner.info().image_size;
  Rows together(2 * dim), alone(dim);
  runner.encode_pixels(in.pixels.data(), 2, together.data(), true);
  runner.encode_pixels(in.pixels.data() + image_bytes, 1, alone.data(), true);
  CHECK(first_difference(alone, row_of_rows(together, 1, dim)) == "");
}

TEST_CASE("passes are captured again after a larger batch has moved their memory") {
  core::Runner runner(artifact(), on_device("bf16"));
  const auto in = inputs_for(runner.info());
  Rows out(static_cast<std::size_t>(2 * runner.info().embed_dim));
  std::uint64_t graphs = 0;
  for (const std::int64_t rows : {1, 2}) {
    for (int call = 0; call < 3; ++call) runner.encode_pixels(in.pixels.data(), rows, out.data(), true);
    const Rows before = out;
    CHECK(runner.memory().graphs > graphs);
    graphs = runner.memory().graphs;
    runner.encode_pixels(in.pixels.data(), rows, out.data(), true);  // replayed
    CHECK(first_difference(out, before) == "");
    CHECK(runner.memory().graphs == graphs);
  }
  CHECK(runner.memory().refused_graphs == 0);
}

TEST_CASE("a device that refuses captures: the reason is said, and the results are the same") {
  TestDevice how;
  how.captures = false;
  if (!test_device(how)) return skip("a GPU captures passes");
  core::Runner captured(artifact(), on_device("bf16")), refused(artifact(), on_device("bf16", how));
  const auto in = inputs_for(captured.info());
  for (int call = 0; call < 3; ++call) {
    const auto expected = encode(captured, in), got = encode(refused, in);
    CHECK(first_difference(got.images, expected.images) == "");
    CHECK(first_difference(got.texts, expected.texts) == "");
  }
  CHECK(captured.memory().graph_problem == "");
  CHECK(refused.memory().graphs == 0);
  CHECK(refused.memory().refused_graphs == 1);
  CHECK(refused.memory().graph_problem == "the test's device captures nothing");
}

TEST_CASE("GEMMs are timed, but not those of a deterministic runner, which computes the same bits everywhere") {
  for (const bool deterministic : {false, true}) {
    CAPTURE(deterministic);
    auto options = on_device("bf16");
    options.deterministic = deterministic;
    const core::GpuModel* model = nullptr;
    options.make_model = [&model, make = options.make_model](const core::GpuModelSource& source) {
      auto made = make(source);
      model = made.get();
      return made;
    };
    core::Runner runner(artifact(), options);
    encode(runner, inputs_for(runner.info()));
    REQUIRE(model != nullptr);
    CHECK((model->counts().timed_gemms == 0) == deterministic);
  }
}

// libtorch has 32 streams for all: each model has its own.
// On a GPU each of them chooses its GEMMs by their time, which bf16 shows.
TEST_CASE("many models that are alive at once give equal results") {
  const double most = is_host_device() ? 1e-6 : 1e-4;
  const std::size_t models = is_host_device() ? 3 : 17;
  std::vector<std::unique_ptr<core::Runner>> runners;
  for (std::size_t i = 0; i < models; ++i) {
    runners.push_back(std::make_unique<core::Runner>(artifact(), on_device("bf16")));
  }
  const auto in = inputs_for(runners.front()->info());
  const auto expected = encode(*runners.front(), in);
  for (int call = 0; call < 3; ++call) {  // uncaptured, captured, replayed
    for (const auto& runner : runners) {
      const auto got = encode(*runner, in);
      CHECK(1 - least_cosine(expected.images, got.images, runner->info().embed_dim) < most);
      CHECK(1 - least_cosine(expected.texts, got.texts, runner->info().embed_dim) < most);
    }
  }
}

TEST_CASE("large batches of texts of any lengths: GEMMs are timed for the first of them only") {
  constexpr std::int64_t kTexts = 66;
  BareModel bare;
  const std::int64_t context = bare.file.config().context_length, dim = bare.file.config().embed_dim;
  const auto start = static_cast<std::int32_t>(bare.file.config().vocab_size - 2);
  Rows out(static_cast<std::size_t>(kTexts * dim));
  std::uint64_t timed = 0;
  for (const std::int64_t longer : {0, 3, 7}) {  // how many of the texts have a second word
    std::vector<std::int32_t> ids(static_cast<std::size_t>(kTexts * context), 0);
    for (std::int64_t t = 0; t < kTexts; ++t) {
      auto* row = &ids[static_cast<std::size_t>(t * context)];
      row[0] = start;
      row[1] = static_cast<std::int32_t>(t + 5);
      if (t < longer) row[2] = 7;
      row[t < longer ? 3 : 2] = start + 1;
    }
    bare.model->encode_tokens(ids.data(), kTexts, context, out.data(), {true, nullptr});
    const auto now = bare.model->counts().timed_gemms;
    CHECK(now > 0);
    if (timed > 0) CHECK(now == timed);
    timed = now;
  }
}

TEST_CASE("the sizes of files are read by several threads") {
  // Notes which sizes were asked for outside of parallel().
  class SizesInParallel final : public ForwardingDevice {
   public:
    SizesInParallel(int& within, int& outside) : within_(within), outside_(outside) {}
    void parallel(std::int64_t count, const std::function<void(std::int64_t)>& work) override {
      is_parallel_ = true;
      for (std::int64_t i = 0; i < count; ++i) work(i);
      is_parallel_ = false;
    }
    bool jpeg_size(const std::uint8_t*, std::size_t, std::int32_t&, std::int32_t&) override {
      ++(is_parallel_ ? within_ : outside_);
      return false;
    }

   private:
    int &within_, &outside_;
    bool is_parallel_ = false;
  };
  int within = 0, outside = 0;
  BareModel bare(std::make_unique<SizesInParallel>(within, outside));
  const std::vector<std::uint8_t> file{'G', 'I', 'F', '8'};
  const std::vector<torchclip_image> images(5, {file.data(), 0, 0, 0, file.size()});
  Rows out(images.size() * static_cast<std::size_t>(bare.file.config().embed_dim));
  std::vector<std::uint8_t> failed(images.size());
  bare.model->encode_images(images.data(), 5, out.data(), failed.data(), {true});
  CHECK(within == 5);
  CHECK(outside == 0);
}

TEST_CASE("files of passes that follow each other: what is decoded beside a pass does not change its images") {
  auto options = on_device("fp32");
  options.deterministic = true;  // a pass for each image
  core::Runner runner(artifact(), options);
  const auto dim = static_cast<std::size_t>(runner.info().embed_dim);
  std::vector<std::vector<std::uint8_t>> bytes;
  std::vector<core::ImageInput> files;
  for (const std::uint32_t seed : {3u, 5u, 8u, 13u})
    bytes.push_back(test_jpeg("OK", 60, 90, striped_image(60, 90, seed)));
  for (const auto& file : bytes) files.push_back(as_file(file));
  Rows together(files.size() * dim);
  std::vector<std::uint8_t> failed(files.size());
  for (int call = 0; call < 2; ++call) {  // memory grows in the first one
    runner.encode_images(files.data(), static_cast<std::int64_t>(files.size()), together.data(), failed.data(), true);
  }
  if (failed[0]) return skip("the device's decoder does not know the tests' format");
  for (std::size_t i = 0; i < files.size(); ++i) {
    CAPTURE(i);
    Rows alone(dim);
    runner.encode_images(&files[i], 1, alone.data(), failed.data(), true);
    CHECK(first_difference(row_of_rows(together, i, dim), alone) == "");
  }
}

TEST_CASE("a call that is cancelled ends as aborted") {
  core::Runner runner(artifact(), on_device("bf16"));
  const auto in = inputs_for(runner.info());
  Rows out(static_cast<std::size_t>(2 * runner.info().embed_dim));
  const volatile std::int32_t cancel = 1;
  CHECK(outcome_of([&] { runner.encode_pixels(in.pixels.data(), 2, out.data(), true, &cancel); }) ==
        TORCHCLIP_E_ABORTED);
}

// The passes are halved until they fit; with less room there is an error, and the model works on afterwards.
TEST_CASE("a device with room for the weights and a few rows") {
  if (!test_device(1)) return skip("a real GPU has the memory it has");
  core::Runner whole(artifact(), on_device("bf16"));
  const auto in = inputs_for(whole.info());
  const std::int64_t dim = whole.info().embed_dim;
  Rows one(static_cast<std::size_t>(dim));
  whole.encode_pixels(in.pixels.data(), 1, one.data(), true);
  const auto weights = whole.memory().weights, row = whole.memory().workspace;
  const auto expected = encode(whole, in);

  core::Runner small(artifact(), on_device("bf16", {weights + 4 * row}));
  const auto got = encode(small, in);
  CHECK(1 - least_cosine(expected.images, got.images, dim) < 1e-5);
  CHECK(1 - least_cosine(expected.texts, got.texts, dim) < 1e-5);

  core::Runner smaller(artifact(), on_device("bf16", {weights + row / 2}));
  for (int i = 0; i < 2; ++i) {
    CHECK(outcome_of([&] { encode(smaller, in); }) == TORCHCLIP_E_OUT_OF_MEMORY);
  }
  Rows text(one.size());
  smaller.encode_tokens(in.ids.data(), 1, 2, text.data(), true);  // still at work
  CHECK(!std::isnan(text[0]));
}
