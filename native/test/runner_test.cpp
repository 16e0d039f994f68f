// The two CPU runners of one artifact: the fast one, and TorchScript through libtorch.
//   torch_runner_test ARTIFACT
#include "model/runner.h"

#include "check.h"
#include "model_inputs.h"

using namespace torchclip::core;
using namespace torchclip::test;

namespace {

Runner on_cpu(bool generic) {
  RunnerOptions options;
  options.device = "cpu";
  options.generic = generic;
  return Runner(arguments().at(0), options);
}

}  // namespace

TEST_CASE("the fast runner gives TorchScript's embeddings: <= 1e-5") {
  Runner fast = on_cpu(false), generic = on_cpu(true);
  CHECK(is_fast(fast.info().image_runner, "fp32"));
  CHECK(is_fast(fast.info().text_runner, "fp32"));
  CHECK(!is_fast(generic.info().image_runner, "fp32"));
  CHECK(!is_fast(generic.info().text_runner, "fp32"));
  const auto in = inputs_for(generic.info());
  const auto expected = encode(generic, in), got = encode(fast, in);
  CHECK(largest_difference(got.images, expected.images) <= 1e-5);
  CHECK(largest_difference(got.texts, expected.texts) <= 1e-5);
  CHECK(largest_difference(encode_pooled(fast, in), encode_pooled(generic, in)) <= 1e-5);
}
