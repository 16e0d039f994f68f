// The CUDA towers on the tests' device (the host's model of a GPU, or the GPU) against TorchScript in float32:
//   cuda_model_test [--families] ARTIFACT...
// --families: only that, of whatever towers of the artifacts are known; else both must be, and more is tested.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"
#include "check.h"
#include "image/preprocess.h"
#include "model.h"
#include "model/runner.h"
#include "search.h"
#include "test_device.h"

namespace core = torchclip::core;
namespace cuda = torchclip::cuda;

namespace {

using Rows = std::vector<float>;

std::uint32_t next(std::uint32_t& seed) { return seed = seed * 1664525u + 1013904223u; }

// Images with large shapes, so that embeddings differ.
std::vector<std::uint8_t> image(std::int32_t w, std::int32_t h, std::uint32_t seed) {
  std::vector<std::uint8_t> p(static_cast<std::size_t>(w) * h * 3);
  const auto a = next(seed) >> 24, b = next(seed) >> 24, step = 3 + (next(seed) >> 28);
  for (std::int32_t y = 0; y < h; ++y) {
    for (std::int32_t x = 0; x < w; ++x) {
      for (std::uint32_t c = 0; c < 3; ++c) {
        p[(static_cast<std::size_t>(y) * w + x) * 3 + c] = static_cast<std::uint8_t>(
            (static_cast<std::uint32_t>(x) / step % 2 ? a : b) + static_cast<std::uint32_t>(y) * c / 2);
      }
    }
  }
  return p;
}

struct Inputs {
  std::int64_t images = 5, texts = 7;
  std::vector<std::uint8_t> pixels;
  std::vector<std::int32_t> ids;
  std::int32_t length;
};

Inputs inputs_for(const core::ModelInfo& info) {
  Inputs in;
  for (std::uint32_t i = 0; i < in.images; ++i) {
    const auto p = image(info.image_size, info.image_size, i + 1);
    in.pixels.insert(in.pixels.end(), p.begin(), p.end());
  }
  in.length = info.context_length;
  std::uint32_t seed = 5;
  for (std::int64_t t = 0; t < in.texts; ++t) {
    const std::int32_t words = t == 0 ? 0 : t == 1 ? in.length - 2 : static_cast<std::int32_t>(next(seed) >> 29);
    std::vector<std::int32_t> row(static_cast<std::size_t>(in.length), info.pad_id);
    row[0] = info.vocab_size - 2;
    for (std::int32_t i = 0; i < words; ++i) {
      row[1 + i] = static_cast<std::int32_t>(1 + next(seed) % static_cast<std::uint32_t>(info.vocab_size - 3));
    }
    row[1 + words] = info.vocab_size - 1;
    in.ids.insert(in.ids.end(), row.begin(), row.end());
  }
  return in;
}

struct Both {
  Rows images, texts;
};

Both encode(core::Runner& runner, const Inputs& in) {
  const std::int64_t dim = runner.info().embed_dim;
  Both out{Rows(static_cast<std::size_t>(in.images * dim)), Rows(static_cast<std::size_t>(in.texts * dim))};
  runner.encode_pixels(in.pixels.data(), in.images, out.images.data(), true);
  runner.encode_tokens(in.ids.data(), in.texts, in.length, out.texts.data(), true);
  return out;
}

double least_cosine(const Rows& a, const Rows& b, std::int64_t dim) {
  double least = 1;
  for (std::size_t r = 0; r < a.size() / static_cast<std::size_t>(dim); ++r) {
    double dot = 0, aa = 0, bb = 0;
    for (std::int64_t i = 0; i < dim; ++i) {
      const double x = a[r * static_cast<std::size_t>(dim) + i], y = b[r * static_cast<std::size_t>(dim) + i];
      dot += x * y;
      aa += x * x;
      bb += y * y;
    }
    const double cosine = dot / std::sqrt(aa * bb);
    least = std::isnan(cosine) ? -1 : std::min(least, cosine);
  }
  return least;
}

double largest_difference(const Rows& a, const Rows& b) {
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(a[i] - b[i]);
    most = std::isnan(d) ? INFINITY : std::max(most, d);
  }
  return most;
}

core::RunnerOptions on_device(const std::string& precision, bool deterministic = false) {
  core::RunnerOptions options;
  options.device = "cpu";
  options.precision = precision;
  options.deterministic = deterministic;
  options.make_model = [](const core::GpuModelSource& source) { return cuda::make_model(cuda::test_device(), source); };
  return options;
}

void check_model(const std::string& path, bool all) {
  core::RunnerOptions generic;
  generic.device = "cpu";
  generic.generic = true;
  core::Runner reference(path, generic);
  const auto& info = reference.info();
  const auto in = inputs_for(info);
  const auto expected = encode(reference, in);
  const std::int64_t dim = info.embed_dim;
  for (const std::string precision : {"fp32", "fp16", "bf16"}) {
    core::Runner runner(path, on_device(precision));
    const bool has_images = runner.info().image_runner.rfind("fast " + precision, 0) == 0;
    const bool has_texts = runner.info().text_runner.rfind("fast " + precision, 0) == 0;
    CHECK(!all || (has_images && has_texts));
    if (!has_images && !has_texts) continue;
    auto got = encode(runner, in);
    const auto again = encode(runner, in);  // recorded by now
    CHECK(got.images == again.images && got.texts == again.texts);
    if (!has_images) got.images = expected.images;  // TorchScript's, in this precision
    if (!has_texts) got.texts = expected.texts;
    const double images = least_cosine(expected.images, got.images, dim);
    const double texts = least_cosine(expected.texts, got.texts, dim);
    const double difference =
        std::max(largest_difference(expected.images, got.images), largest_difference(expected.texts, got.texts));
    std::printf("%s %s: images' cosine %.6f, texts' %.6f, largest difference %.2e\n", path.c_str(), precision.c_str(),
                images, texts, difference);
    const double wanted = precision == "fp32" ? 1 - 1e-7 : precision == "fp16" ? 0.9999 : 0.9995;
    CHECK(images >= wanted && texts >= wanted);
    if (precision == "fp32") CHECK(difference <= 1e-5);
    CHECK(runner.memory().weights > 0 && runner.memory().workspace > 0);
  }
}

// Files that the device decodes beside decoded images; a file that it refuses, or fails at, is told and hurts no
// other. `expected` begins with the embeddings of images 300 x 200 and 100 x 333.
void check_decoder(core::Runner& runner, const Rows& expected) {
  const auto tall = image(100, 222, 5), first = image(300, 200, 300);
  std::vector<std::uint8_t> good{'O', 'K', 100, 222}, fails{'N', 'O', 100, 222}, other{'G', 'I', 'F', '8'};
  good.insert(good.end(), tall.begin(), tall.end());
  fails.insert(fails.end(), tall.begin(), tall.end());
  const auto dim = static_cast<std::size_t>(runner.info().embed_dim);
  const core::ImageInput mixed[] = {{{fails.data(), 0, 0, 0}, fails.size()},
                                    {{first.data(), 300, 200, 3}},
                                    {{good.data(), 0, 0, 0}, good.size()},
                                    {{other.data(), 0, 0, 0}, other.size()}};
  const core::ImageInput alone{{tall.data(), 100, 222, 3}};
  Rows got(4 * dim), one(dim);
  std::uint8_t failed[4];
  runner.encode_images(mixed, 4, got.data(), failed, true);
  runner.encode_images(&alone, 1, one.data(), nullptr, true);
  const bool decodes = failed[2] == 0;  // a GPU's decoder knows the tests' format not
  CHECK(failed[0] == 1 && failed[1] == 0 && failed[3] == 1);
  CHECK(std::equal(got.begin() + dim, got.begin() + 2 * dim, expected.begin()));
  CHECK(!decodes || std::equal(one.begin(), one.end(), got.begin() + 2 * dim));
  CHECK(torchclip::test::status_of<core::Error>([&] { runner.encode_images(mixed, 4, got.data(), nullptr, true); }) ==
        TORCHCLIP_E_ARGUMENT);
}

// Images of any sizes through the device's own resize: the same pixels, so the same embeddings.
void check_images(const std::string& path) {
  core::Runner runner(path, on_device("fp32"));
  const auto& info = runner.info();
  std::vector<std::vector<std::uint8_t>> kept;
  std::vector<core::ImageInput> images;
  std::vector<std::uint8_t> pixels;
  for (const auto& [w, h] : {std::pair{300, 200}, {100, 333}, {info.image_size, info.image_size}}) {
    kept.push_back(image(w, h, static_cast<std::uint32_t>(w)));
    images.push_back({{kept.back().data(), w, h, 3}});
    pixels.resize(pixels.size() + static_cast<std::size_t>(info.image_size) * info.image_size * 3);
    core::preprocess(images.back().image, info.transform, &*pixels.end() - info.image_size * info.image_size * 3);
  }
  Rows a(static_cast<std::size_t>(3 * info.embed_dim)), b(a.size());
  runner.encode_images(images.data(), 3, a.data(), nullptr, true);
  runner.encode_pixels(pixels.data(), 3, b.data(), true);
  CHECK(a == b);
  check_decoder(runner, b);
}

void check_cancel_and_single_rows(const std::string& path) {
  core::Runner runner(path, on_device("bf16", true));
  const auto in = inputs_for(runner.info());
  const std::int64_t dim = runner.info().embed_dim, plane = 3 * runner.info().image_size * runner.info().image_size;
  Rows together(static_cast<std::size_t>(2 * dim)), alone(static_cast<std::size_t>(dim));
  runner.encode_pixels(in.pixels.data(), 2, together.data(), true);
  runner.encode_pixels(in.pixels.data() + plane, 1, alone.data(), true);
  CHECK(std::equal(alone.begin(), alone.end(), together.begin() + dim));
  const volatile std::int32_t cancel = 1;
  CHECK(torchclip::test::status_of<core::Error>(
            [&] { runner.encode_pixels(in.pixels.data(), 2, together.data(), true, &cancel); }) == TORCHCLIP_E_ABORTED);
}

// A device with room for the weights and a few rows: the passes are halved until they fit; with less room there is an
// error, and the model works on afterwards.
void check_memory(const std::string& path) {
  core::Runner whole(path, on_device("bf16"));
  const auto in = inputs_for(whole.info());
  Rows one(static_cast<std::size_t>(whole.info().embed_dim));
  whole.encode_pixels(in.pixels.data(), 1, one.data(), true);
  const auto weights = whole.memory().weights, row = whole.memory().workspace;
  const auto limited = [&](std::uint64_t bytes) {
    auto options = on_device("bf16");
    options.make_model = [bytes](const core::GpuModelSource& source) {
      return cuda::make_model(cuda::test_device(bytes), source);
    };
    return options;
  };
  if (!cuda::test_device(1)) return;  // a real GPU has the memory it has
  const auto expected = encode(whole, in);
  core::Runner small(path, limited(weights + 4 * row));
  const auto got = encode(small, in);
  CHECK(least_cosine(expected.images, got.images, whole.info().embed_dim) > 0.99999);
  CHECK(least_cosine(expected.texts, got.texts, whole.info().embed_dim) > 0.99999);
  core::Runner smaller(path, limited(weights + row / 2));
  for (int i = 0; i < 2; ++i) {
    CHECK(torchclip::test::status_of<core::Error>([&] { encode(smaller, in); }) == TORCHCLIP_E_OUT_OF_MEMORY);
  }
  Rows text(one.size());
  smaller.encode_tokens(in.ids.data(), 1, 2, text.data(), true);  // still at work
  CHECK(!std::isnan(text[0]));
}

void check_search() {
  const auto device = cuda::test_device();
  const std::int64_t dim = 12, rows = 700, queries = 5;  // 12: not a multiple of 8
  std::uint32_t seed = 9;
  Rows base(static_cast<std::size_t>(rows * dim)), asked(static_cast<std::size_t>(queries * dim));
  for (auto* v : {&base, &asked}) {
    for (auto& x : *v) x = static_cast<float>(next(seed) >> 8) / (1 << 23) - 1.0f;
  }
  Rows scores(static_cast<std::size_t>(queries * rows));
  cuda::similarity(*device, asked.data(), queries, base.data(), rows, dim, scores.data(), 150);
  double most = 0;
  for (std::int64_t q = 0; q < queries; ++q) {
    for (std::int64_t r = 0; r < rows; ++r) {
      double dot = 0;
      for (std::int64_t i = 0; i < dim; ++i) dot += static_cast<double>(asked[q * dim + i]) * base[r * dim + i];
      most = std::max(most, std::abs(dot - scores[q * rows + r]));
    }
  }
  CHECK(most < 1e-5);
  const std::int32_t k = 20;
  std::vector<std::int32_t> indices(static_cast<std::size_t>(queries * k));
  Rows best(indices.size());
  cuda::top_k(*device, asked.data(), queries, base.data(), rows, dim, k, indices.data(), best.data(), 150);
  for (std::int64_t q = 0; q < queries; ++q) {
    std::vector<std::int32_t> order(rows);
    std::iota(order.begin(), order.end(), 0);
    const float* row = &scores[q * rows];
    std::stable_sort(order.begin(), order.end(), [row](auto a, auto b) { return row[a] > row[b]; });
    CHECK(std::equal(order.begin(), order.begin() + k, &indices[q * k]));
    CHECK(best[q * k] == row[order[0]]);
  }
}

}  // namespace

int main(int count, char** arguments) {
  const bool families = count > 1 && std::string(arguments[1]) == "--families";
  for (int i = families ? 2 : 1; i < count; ++i) check_model(arguments[i], !families);
  if (families) return torchclip::test::failures();
  check_search();
  if (count > 1) {
    check_images(arguments[1]);
    check_cancel_and_single_rows(arguments[1]);
    check_memory(arguments[1]);
  }
  return torchclip::test::failures();
}
