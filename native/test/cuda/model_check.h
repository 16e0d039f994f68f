// The CUDA towers of an artifact against TorchScript in float32.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "check.h"
#include "model/gpu_model.h"
#include "model/runner.h"
#include "model_inputs.h"
#include "test_table.h"

namespace torchclip::cuda {

using test::Embeddings;
using test::Inputs;

// Options of a runner on the tests' device.
inline core::RunnerOptions on_device(const std::string& precision, const TestDevice& how = {}) {
  core::RunnerOptions options;
  options.device = "cpu";
  options.precision = precision;
  options.make_model = [how](const core::GpuModelSource& source) {
    return std::make_unique<core::GpuModel>(test_table(how), source);
  };
  return options;
}

// How far the cosine of embeddings that are as exact as `precision` allows is from 1.
inline double most_loss(const std::string& precision) {
  if (precision == "fp32") return 1e-7;
  return precision == "fp16" ? 1e-4 : 5e-4;
}

// The first call may grow memory for its second tower. Then each tower runs uncaptured, captured, and replayed.
inline void check_replays(core::Runner& runner, const Inputs& in, const Embeddings& first) {
  for (int call = 0; call < 3; ++call) {
    const auto again = test::encode(runner, in);
    CHECK(test::first_difference(again.images, first.images) == "");
    CHECK(test::first_difference(again.texts, first.texts) == "");
  }
  CHECK(runner.memory().graphs > 0);
  CHECK(runner.memory().refused_graphs == 0);
}

// `both`: both towers must be known; otherwise those that are known are compared.
inline void check_precision(const std::string& path, const std::string& precision, bool both, const Inputs& in,
                            const Embeddings& expected, const test::Rows& expected_pooled) {
  CAPTURE(path);
  CAPTURE(precision);
  core::Runner runner(path, on_device(precision));
  const auto& info = runner.info();
  const bool has_images = test::is_fast(info.image_runner, precision);
  const bool has_texts = test::is_fast(info.text_runner, precision);
  if (both) CHECK(has_images);
  if (both) CHECK(has_texts);
  if (!has_images && !has_texts) return;
  if (has_images) {
    const auto pooled = test::encode_pooled(runner, in);
    CHECK(1 - test::least_cosine(expected_pooled, pooled, info.pooled_dim) <= most_loss(precision));
    if (precision == "fp32") CHECK(test::largest_difference(expected_pooled, pooled) <= 1e-5);
  }
  auto got = test::encode(runner, in);
  // Captures do not depend on the precision: they are checked for one.
  if (precision == "fp16") check_replays(runner, in, got);
  if (!has_images) got.images = expected.images;  // TorchScript's, in this precision
  if (!has_texts) got.texts = expected.texts;
  const double images = test::least_cosine(expected.images, got.images, info.embed_dim);
  const double texts = test::least_cosine(expected.texts, got.texts, info.embed_dim);
  const double difference = std::max(test::largest_difference(expected.images, got.images),
                                     test::largest_difference(expected.texts, got.texts));
  std::printf("%s %s: images' cosine %.6f, texts' %.6f, largest difference %.2e\n", path.c_str(), precision.c_str(),
              images, texts, difference);
  CHECK(1 - images <= most_loss(precision));
  CHECK(1 - texts <= most_loss(precision));
  if (precision == "fp32") CHECK(difference <= 1e-5);
  CHECK(runner.memory().weights > 0);
  CHECK(runner.memory().workspace > 0);
}

inline void check_model(const std::string& path, bool both) {
  core::RunnerOptions generic;
  generic.device = "cpu";
  generic.generic = true;
  core::Runner reference(path, generic);
  const auto in = test::inputs_for(reference.info());
  const auto expected = test::encode(reference, in);
  const auto expected_pooled = test::encode_pooled(reference, in);
  for (const char* precision : {"fp32", "fp16", "bf16"}) {
    check_precision(path, precision, both, in, expected, expected_pooled);
  }
}

}  // namespace torchclip::cuda
