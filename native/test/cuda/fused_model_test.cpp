// A model whose GEMMs and activations are one kernel of cuDNN's model, against the same model by two kernels.
//   cuda_fused_model_test ARTIFACT
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "cudnn_gemms.h"
#include "fake_cudnn.h"
#include "fused_device.h"
#include "model_inputs.h"
#include "model_source.h"

using namespace torchclip::cuda;
using namespace torchclip::test;
namespace core = torchclip::core;

namespace {

constexpr double kLoss = 1e-4;  // of a cosine, between two ways to round to bf16

class CudnnDevice final : public FusedDevice {
 public:
  CudnnDevice() { fused = &gemms_; }

 private:
  CudnnGemms cudnn_{*this, fake_cudnn::open, [] {}};
  ActivatedGemms gemms_{*this, &cudnn_, {1, 16}};
};

struct BareModel {
  BareModel(std::unique_ptr<Device> device, const std::string& precision) {
    auto source = source_of(file, table);
    source.precision = precision;
    model = make_model(std::move(device), source);
  }
  Rows images() {
    const auto side = file.config().transform.size;
    Rows out(static_cast<std::size_t>(file.config().embed_dim));
    const auto pixels = striped_image(side, side, 3);
    model->encode_pixels(pixels.data(), 1, out.data(), {true});
    return out;
  }
  Rows texts() {
    const auto end = static_cast<std::int32_t>(file.config().vocab_size - 1);
    const std::int64_t context = file.config().context_length;
    std::vector<std::int32_t> ids(static_cast<std::size_t>(context), 0);
    ids[0] = end - 1;
    ids[1] = 5;
    ids[2] = end;
    Rows out(static_cast<std::size_t>(file.config().embed_dim));
    model->encode_tokens(ids.data(), 1, context, out.data(), {true});
    return out;
  }

  const core::Artifact file{arguments().at(0)};
  const core::PixelTable table{file.config().mean.data(), file.config().std.data()};
  std::unique_ptr<Model> model;
};

}  // namespace

TEST_CASE("a model by one kernel gives what it gives by two, uncaptured, captured and replayed") {
  fake_cudnn::reset();
  fake_cudnn::settings().engines = 1;
  BareModel two(test_device(), "bf16"), one(std::make_unique<CudnnDevice>(), "bf16");
  const auto images = two.images(), texts = two.texts();
  const auto dim = two.file.config().embed_dim;
  for (int call = 0; call < 4; ++call) {
    CAPTURE(call);
    CHECK(1 - least_cosine(images, one.images(), dim) <= kLoss);
    CHECK(1 - least_cosine(texts, one.texts(), dim) <= kLoss);
  }
  CHECK(one.model->counts().fused_gemms >= 2);  // a shape of each tower
  CHECK(one.model->counts().graphs.captured == 2);
  CHECK(one.model->counts().graphs.replayed >= 2);
  CHECK(one.model->counts().graphs.refused == 0);
}

TEST_CASE("a model in float32 asks for no plans") {
  fake_cudnn::reset();
  BareModel one(std::make_unique<CudnnDevice>(), "fp32");
  one.images();
  CHECK(fake_cudnn::counts().opened == 0);
}

TEST_CASE("a library that computes another activation is not used by a model") {
  fake_cudnn::reset();
  fake_cudnn::settings().engines = 1;
  fake_cudnn::settings().ignores_beta = true;
  BareModel two(test_device(), "bf16"), one(std::make_unique<CudnnDevice>(), "bf16");
  CHECK(first_difference(one.images(), two.images()) == "");
  CHECK(one.model->counts().fused_gemms == 0);
  CHECK(fake_cudnn::counts().executed > 0);
}
