// The convolutional towers with random weights: the same bits for any batch and number of threads, bf16 beside float32,
// cancellation and memory. That they compute what their reference does is tested by test/models/families.test.ts.
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "machine.h"
#include "model/config/layout.h"
#include "model/cpu/tower.h"
#include "model_inputs.h"
#include "values.h"

using namespace torchclip::core;
using namespace torchclip::test;

namespace {

constexpr std::int64_t kDim = 64;

// Sides that are odd after a few halvings; heads and norms of both kinds; a final width of two filters a channel.
constexpr const char* kConvnext = R"({"kind": "convnext", "depths": [1, 1, 2, 1], "widths": [16, 32, 48, 64],
  "eps": 1e-6, "imageSize": 92, "head": "linear", "mlpWidth": 0, "headBias": false})";
constexpr const char* kConvnextMlp = R"({"kind": "convnext", "depths": [1, 1, 1, 1], "widths": [10, 20, 40, 80],
  "eps": 1e-5, "imageSize": 64, "head": "mlp", "mlpWidth": 128, "headBias": true})";
constexpr const char* kFastvit = R"({"kind": "fastvit", "depths": [1, 2, 1, 1], "widths": [16, 32, 64, 128],
  "mlpWidths": [48, 96, 192, 384], "attention": [false, false, false, true], "positions": [false, false, false, true],
  "squeeze": [0, 0, 8, 8], "downsample": [false, true, true, true], "norm": "batch", "stemScale": true,
  "finalWidth": 256, "finalSqueeze": 16, "imageSize": 100, "projection": true})";
constexpr const char* kFastvitBare = R"({"kind": "fastvit", "depths": [1, 1], "widths": [16, 32], "mlpWidths": [48, 96],
  "attention": [false, true], "positions": [false, true], "squeeze": [0, 0], "downsample": [false, true],
  "norm": "layer", "stemScale": false, "finalWidth": 64, "finalSqueeze": 8, "imageSize": 64, "projection": false})";
constexpr const char* kAll[] = {kConvnext, kConvnextMlp, kFastvit, kFastvitBare};

TowerLayout layout_of(const Json& config) {
  return config["kind"].text() == "convnext" ? convnext_layout(config, kDim) : fastvit_layout(config, kDim);
}

// Numbers of the size that such a parameter has in a trained model.
std::vector<float> random_parameter(const std::string& name, const std::vector<std::int64_t>& shape,
                                    std::uint32_t seed) {
  std::int64_t count = 1, inner = 1;
  for (const auto n : shape) count *= n;
  for (std::size_t i = 1; i < shape.size(); ++i) inner *= shape[i];
  auto v = values(static_cast<std::size_t>(count), seed);
  const bool factor = name.ends_with("running_var") || (shape.size() == 1 && name.ends_with("weight"));
  for (auto& x : v) {
    if (name.ends_with("gamma")) {
      x = 0.5f + 0.1f * x;
    } else if (factor) {
      x = 1 + 0.1f * x;
    } else {
      x *= shape.size() == 1 ? 0.05f : std::sqrt(3.0f / static_cast<float>(inner));
    }
  }
  return v;
}

Weights random_weights(const TowerLayout& layout) {
  return [shapes = layout.shapes](const std::string& name) {
    const auto found = shapes.find(name);
    if (found == shapes.end()) return Tensor{};
    const auto number = static_cast<std::uint32_t>(std::distance(shapes.begin(), found));
    const auto keep = std::make_shared<const std::vector<float>>(random_parameter(name, found->second, 100 + number));
    return Tensor{keep->data(), found->second, keep};
  };
}

// A tower with its threads.
class Model {
 public:
  Model(const Json& config, const Weights& weights, Precision precision, int threads)
      : machine_(threads),
        size_(layout_of(config).image_size),
        tower_(ImageTower::make(machine_.context(), precision, weights, config, kDim, table())) {
    REQUIRE(tower_ != nullptr);
  }
  Model(const char* config, Precision precision, int threads)
      : Model(Json::parse(config), random_weights(layout_of(Json::parse(config))), precision, threads) {}

  // `dim`: the floats of a row of `output`.
  Rows encode(std::int64_t images, std::int64_t first = 0, Cancel cancel = nullptr,
              ImageOutput output = ImageOutput::embedding, std::int64_t dim = kDim) {
    std::vector<std::uint8_t> pixels;
    const auto side = static_cast<std::int32_t>(size_);
    for (std::int64_t i = first; i < first + images; ++i) {
      const auto image = striped_image(side, side, static_cast<std::uint32_t>(i + 1));
      pixels.insert(pixels.end(), image.begin(), image.end());
    }
    Rows out(static_cast<std::size_t>(images * dim));
    tower_->encode(machine_.context(), arena_, pixels.data(), output, Matrix::dense(out.data(), images, dim), cancel);
    return out;
  }
  const ImageTower& tower() const { return *tower_; }
  std::size_t workspace() const { return arena_.bytes(); }

 private:
  static PixelTable table() {
    const double mean[] = {0.48, 0.46, 0.41}, deviation[] = {0.27, 0.26, 0.28};
    return PixelTable(mean, deviation);
  }

  Machine machine_;
  std::int64_t size_;
  std::unique_ptr<ImageTower> tower_;
  Arena arena_;
};

Rows row_of(const Rows& rows, std::int64_t i) { return {rows.begin() + i * kDim, rows.begin() + (i + 1) * kDim}; }

}  // namespace

TEST_CASE("an image has the same bits in any batch and with any number of threads") {
  for (const char* config : kAll) {
    for (const Precision precision : {Precision::fp32, Precision::bf16, Precision::int8}) {
      CAPTURE(kernels_name());
      CAPTURE(std::string(config));
      CAPTURE(std::string(torchclip::core::name_of(precision)));
      Model one(config, precision, 1), three(config, precision, 3);
      const Rows all = one.encode(11);  // more than are encoded at once
      CHECK(first_difference(three.encode(11), all) == "");
      for (const std::int64_t i : {0, 5, 10}) {
        CHECK(first_difference(one.encode(1, i), row_of(all, i)) == "");
        CHECK(first_difference(three.encode(1, i), row_of(all, i)) == "");
      }
      CHECK(largest_difference(row_of(all, 0), row_of(all, 1)) > 1e-3);
    }
  }
}

TEST_CASE("bf16 and fp16 have a cosine of at least 0.9995 to float32, int8 of at least 0.999") {
  for (const char* config : kAll) {
    CAPTURE(kernels_name());
    CAPTURE(std::string(config));
    const Rows exact = Model(config, Precision::fp32, 2).encode(3);
    Model bf16(config, Precision::bf16, 2), fp16(config, Precision::fp16, 2), int8(config, Precision::int8, 2);
    const Rows rounded = bf16.encode(3);
    CHECK(least_cosine(rounded, exact, kDim) >= 0.9995);
    CHECK(least_cosine(fp16.encode(3), exact, kDim) >= 0.9995);
    const Rows quantised = int8.encode(3);
    CHECK(least_cosine(quantised, exact, kDim) >= 0.999);
    CHECK(largest_difference(quantised, rounded) > 0);
    CHECK(int8.tower().precision() == Precision::int8);
    CHECK(int8.tower().bytes() < bf16.tower().bytes());
    CHECK(largest_difference(rounded, exact) > 0);
  }
}

TEST_CASE("a tower ends before its next layer once it is cancelled, and runs again") {
  for (const char* config : kAll) {
    CAPTURE(std::string(config));
    Model model(config, Precision::fp32, 2);
    const volatile std::int32_t cancelled = 1;
    CHECK(outcome_of([&] { model.encode(2, 0, &cancelled); }) == TORCHCLIP_E_ABORTED);
    const Rows again = model.encode(2);
    CHECK(first_difference(Model(config, Precision::fp32, 2).encode(2), again) == "");
  }
}

TEST_CASE("the workspace does not grow over equal batches, and the weights have a size") {
  for (const char* config : kAll) {
    CAPTURE(std::string(config));
    Model model(config, Precision::fp32, 2);
    model.encode(4);
    const std::size_t first = model.workspace();
    for (int i = 0; i < 3; ++i) model.encode(4);
    CHECK(model.workspace() == first);
    CHECK(model.tower().bytes() > Model(config, Precision::bf16, 2).tower().bytes());
  }
}

TEST_CASE("the projection of the pooled feature is the embedding: <= 1e-5") {
  for (const char* config : {kConvnext, kFastvit}) {
    CAPTURE(std::string(config));
    const auto layout = layout_of(Json::parse(config));
    const Weights weights = random_weights(layout);
    const std::int64_t inner = layout.pooled_dim;
    Model model(config, Precision::fp32, 2);
    const Rows pooled = model.encode(3, 0, nullptr, ImageOutput::pooled, inner), embeddings = model.encode(3);
    REQUIRE(layout.projection.transposed);
    const Tensor matrix = weights(layout.projection.matrix);
    const Tensor bias = layout.projection.bias.empty() ? Tensor{} : weights(layout.projection.bias);
    REQUIRE(matrix.rows() == kDim);
    REQUIRE(matrix.inner() == inner);
    Rows projected;
    for (std::int64_t i = 0; i < 3 * kDim; ++i) {
      const float *row = pooled.data() + i / kDim * inner, *column = matrix.data + i % kDim * inner;
      double sum = bias.data ? bias.data[i % kDim] : 0;
      for (std::int64_t d = 0; d < inner; ++d) sum += static_cast<double>(row[d]) * column[d];
      projected.push_back(static_cast<float>(sum));
    }
    CHECK(largest_difference(projected, embeddings) <= 1e-5);
  }
}

TEST_CASE("the pooled feature before an MLP head has the width of the last stage") {
  const auto layout = layout_of(Json::parse(kConvnextMlp));
  CHECK(layout.pooled_dim == 80);
  CHECK(layout.projection.kind == ProjectionKind::other);
  const Rows pooled = Model(kConvnextMlp, Precision::fp32, 1).encode(2, 0, nullptr, ImageOutput::pooled, 80);
  CHECK(largest_difference(pooled, Rows(pooled.size())) > 0.1);
}

TEST_CASE("without a projection the pooled feature is the embedding") {
  const auto layout = layout_of(Json::parse(kFastvitBare));
  CHECK(layout.pooled_dim == kDim);
  CHECK(layout.projection.kind == ProjectionKind::none);
  Model bare(kFastvitBare, Precision::fp32, 1);
  CHECK(first_difference(bare.encode(2, 0, nullptr, ImageOutput::pooled), bare.encode(2)) == "");
}

TEST_CASE("without a projection the means themselves are the embeddings, in the order of the channels") {
  const Json bare = Json::parse(kFastvitBare);
  std::string text = kFastvitBare;
  text.replace(text.find("\"projection\": false"), 19, "\"projection\": true");
  const Json projecting = Json::parse(text);
  const Weights weights = random_weights(layout_of(bare));
  const Weights with_identity = [&](const std::string& name) {
    if (!name.starts_with("visual.project")) return weights(name);
    const bool matrix = name.ends_with("weight");
    auto identity = std::make_shared<std::vector<float>>(static_cast<std::size_t>(matrix ? kDim * kDim : kDim));
    for (std::int64_t i = 0; matrix && i < kDim; ++i) (*identity)[static_cast<std::size_t>(i * kDim + i)] = 1;
    return Tensor{identity->data(), matrix ? std::vector{kDim, kDim} : std::vector{kDim}, identity};
  };
  const Rows expected = Model(projecting, with_identity, Precision::fp32, 1).encode(2);
  CHECK(first_difference(Model(bare, weights, Precision::fp32, 1).encode(2), expected) == "");
}

TEST_CASE("a ConvNeXt of odd widths is left to the generic runner") {
  std::string text = kConvnext;
  text.replace(text.find("16, 32"), 6, "17, 32");
  const Json config = Json::parse(text);
  Machine machine(1);
  const double ones[] = {1, 1, 1};
  CHECK(ImageTower::make(machine.context(), Precision::fp32, random_weights(layout_of(config)), config, kDim,
                         PixelTable(ones, ones)) == nullptr);
}
