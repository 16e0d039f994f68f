// Models in FP8 on the tests' device: against the same model in float32, and where FP8 is not possible.
//   cuda_fp8_test ARTIFACT
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.h"
#include "forwarding_device.h"
#include "model.h"
#include "model_check.h"
#include "test_device.h"
#include "values.h"

using namespace torchclip::cuda;
using namespace torchclip::test;
namespace core = torchclip::core;

namespace {

const std::string& artifact() { return arguments().at(0); }

bool device_has_fp8() { return test_device()->has_fp8(); }

// A small model of random weights on the tests' device.
struct SmallModel {
  explicit SmallModel(std::int64_t image_width) : width(image_width) {}

  std::unique_ptr<Model> on(std::unique_ptr<Device> device, const std::string& precision) const {
    const auto config = core::Json::parse(
        "{\"image\":{\"kind\":\"vit\",\"imageSize\":16,\"patchSize\":8,\"width\":" + std::to_string(width) +
        ",\"layers\":2,\"heads\":1,\"mlpWidth\":" + std::to_string(4 * width) +
        ",\"eps\":1e-5,\"activation\":\"gelu_tanh\",\"pool\":\"average\",\"classToken\":false,\"preNorm\":false}}");
    const std::vector<float> pixels(768, 0.5f);
    const ModelSource source{
        precision, [this](const std::string& name) { return tensor(name); }, config, width, 8, core::Transform{16},
        &pixels[0]};
    return make_model(std::move(device), source);
  }

  core::Tensor tensor(const std::string& name) const {
    const std::map<std::string, std::vector<std::int64_t>> shapes{{"visual.conv1.weight", {width, 3, 8, 8}},
                                                                  {"visual.positional_embedding", {4, width}},
                                                                  {"attn.in_proj_weight", {3 * width, width}},
                                                                  {"attn.in_proj_bias", {3 * width}},
                                                                  {"attn.out_proj.weight", {width, width}},
                                                                  {"attn.out_proj.bias", {width}},
                                                                  {"mlp.c_fc.weight", {4 * width, width}},
                                                                  {"mlp.c_fc.bias", {4 * width}},
                                                                  {"mlp.c_proj.weight", {width, 4 * width}},
                                                                  {"mlp.c_proj.bias", {width}},
                                                                  {"ln_1.weight", {width}},
                                                                  {"ln_2.weight", {width}},
                                                                  {"visual.ln_post.weight", {width}}};
    for (const auto& [end, shape] : shapes) {
      if (!name.ends_with(end)) continue;
      std::int64_t count = 1;
      for (const auto axis : shape) count *= axis;
      auto numbers = std::make_shared<std::vector<float>>(values(static_cast<std::size_t>(count), 7));
      for (auto& x : *numbers) x *= 0.25f;
      return {numbers->data(), shape, numbers};
    }
    return {};
  }

  std::int64_t width;
};

}  // namespace

// The texts of the tests' small model are the more sensitive ones: with 3 bits of mantissa they lose more than `auto`
// takes. A GPU sums with fewer bits (CUBLASLT_MATMUL_DESC_FAST_ACCUM) than the host's model of one, in float32.
TEST_CASE("fp8: a cosine to float32 of at least 0.998 of images and pooled features, and 0.99 of texts (GPU: 0.98)") {
  if (!device_has_fp8()) return skip("the device does not multiply FP8");
  core::Runner exact(artifact(), on_device("fp32")), runner(artifact(), on_device("fp8"));
  const auto& info = runner.info();
  CHECK(info.precision == "fp8");
  CHECK(is_fast(info.image_runner, "fp8"));
  CHECK(is_fast(info.text_runner, "fp8"));
  const auto in = inputs_for(info);
  const auto expected = encode(exact, in), got = encode(runner, in);
  const double images = least_cosine(expected.images, got.images, info.embed_dim);
  const double texts = least_cosine(expected.texts, got.texts, info.embed_dim);
  const double pooled = least_cosine(encode_pooled(exact, in), encode_pooled(runner, in), info.pooled_dim);
  MESSAGE("images " << images << ", texts " << texts << ", pooled " << pooled);
  CHECK(images >= 0.998);
  CHECK(texts >= (is_host_device() ? 0.99 : 0.98));
  CHECK(pooled >= 0.998);
  // Numbers of 8 bits were really used: bf16 is closer.
  CHECK(images < 0.99999);
  CHECK(texts < 0.99999);
}

TEST_CASE("fp8: passes are captured, and replays give the same") {
  if (!device_has_fp8()) return skip("the device does not multiply FP8");
  core::Runner runner(artifact(), on_device("fp8"));
  const auto in = inputs_for(runner.info());
  check_replays(runner, in, encode(runner, in));
}

TEST_CASE("fp8: two models of the same weights are calibrated alike") {
  if (!device_has_fp8()) return skip("the device does not multiply FP8");
  core::Runner one(artifact(), on_device("fp8")), other(artifact(), on_device("fp8"));
  const auto in = inputs_for(one.info());
  const auto a = encode(one, in), b = encode(other, in);
  if (is_host_device()) {
    CHECK(first_difference(a.images, b.images) == "");
    CHECK(first_difference(a.texts, b.texts) == "");
  }
  CHECK(1 - least_cosine(a.images, b.images, one.info().embed_dim) < 1e-4);
}

TEST_CASE("fp8: the weights of the blocks take one byte each") {
  if (!device_has_fp8()) return skip("the device does not multiply FP8");
  const core::Runner fp8(artifact(), on_device("fp8")), bf16(artifact(), on_device("bf16"));
  CHECK(fp8.memory().weights < bf16.memory().weights);
  CHECK(fp8.memory().workspace == 0);  // nothing of the calibration is kept
}

TEST_CASE("fp8: a tower without a text tower, GELU by tanh and average pooling") {
  if (!device_has_fp8()) return skip("the device does not multiply FP8");
  const SmallModel small(32);
  const auto exact = small.on(test_device(), "fp32"), fp8 = small.on(test_device(), "fp8");
  REQUIRE(fp8->has_images());
  const auto pixels = striped_image(16, 16, 3);
  Rows expected(32), got(32);
  exact->encode_pixels(pixels.data(), 1, expected.data(), {true});
  fp8->encode_pixels(pixels.data(), 1, got.data(), {true});
  CHECK(least_cosine(expected, got, 32) > 0.99);
}

TEST_CASE("fp8 is E_PRECISION on a device that does not multiply it, and other precisions work there") {
  TestDevice without_fp8;
  without_fp8.fp8 = false;
  if (!test_device(without_fp8)) return skip("a real GPU has FP8 or not");
  const auto outcome = outcome_of([&] { core::Runner(artifact(), on_device("fp8", without_fp8)); });
  CHECK(outcome == TORCHCLIP_E_PRECISION);
  CHECK(outcome.message.find("compute capability 8.9") != std::string::npos);
  const core::Runner bf16(artifact(), on_device("bf16", without_fp8));
  CHECK(bf16.info().precision == "bf16");
}

TEST_CASE("fp8 is E_PRECISION on a CPU and by TorchScript") {
  core::RunnerOptions options;
  options.device = "cpu";
  options.precision = "fp8";
  CHECK(outcome_of([&] { core::Runner(artifact(), options); }) == TORCHCLIP_E_PRECISION);
  auto generic = on_device("fp8");
  generic.generic = true;
  CHECK(outcome_of([&] { core::Runner(artifact(), generic); }) == TORCHCLIP_E_PRECISION);
}

TEST_CASE("fp8 is E_PRECISION where the library has no such product") {
  class Refusing final : public ForwardingDevice {
   public:
    bool has_fp8() const override { return true; }
    void gemm(const GemmArgs& args) override {
      if (args.dtype == DType::e4m3) throw std::runtime_error("there is no such GEMM");
      ForwardingDevice::gemm(args);
    }
  };
  const auto outcome = outcome_of([] { SmallModel(32).on(std::make_unique<Refusing>(), "fp8"); });
  CHECK(outcome == TORCHCLIP_E_PRECISION);
  CHECK(outcome.message.find("there is no such GEMM") != std::string::npos);
}

TEST_CASE("fp8 is E_PRECISION for a model whose sizes are no multiples of 16") {
  if (!device_has_fp8()) return skip("the device does not multiply FP8");
  const auto outcome = outcome_of([] { SmallModel(24).on(test_device(), "fp8"); });
  CHECK(outcome == TORCHCLIP_E_PRECISION);
  CHECK(outcome.message.find("multiples of 16") != std::string::npos);
  CHECK(SmallModel(24).on(test_device(), "bf16")->has_images());
}
