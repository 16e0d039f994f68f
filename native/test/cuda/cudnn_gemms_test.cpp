// The graphs and plans that cuDNN is asked for, over a model of it that computes what they say.
#include "cudnn_gemms.h"

#include <cstdint>
#include <memory>
#include <vector>

#include "bench.h"
#include "check.h"
#include "fake_cudnn.h"
#include "model_inputs.h"

using namespace torchclip::cuda;
using torchclip::test::name_of;

namespace {

// The distance of neighbouring numbers at the largest results, 16 to 32.
constexpr double rounding(DType dtype) { return dtype == DType::bf16 ? 0.125 : 0.016; }

constexpr std::int64_t kRows = 5, kInner = 64, kColumns = 48;

int forgotten = 0;  // errors

// A GEMM with its memory on the tests' device, and the library.
struct Setting {
  explicit Setting(DType dtype = DType::bf16, Activation activation = Activation::quick_gelu) {
    fake_cudnn::reset();
    forgotten = 0;
    auto& p = gemm.product;
    p.a = put(HostArray(dtype, wide_values(kRows * kInner, 1)));
    p.weights = put(HostArray(dtype, wide_values(kColumns * kInner, 2)));
    p.rows = kRows;
    p.inner = kInner;
    p.columns = p.stride = kColumns;
    p.dtype = p.out_dtype = dtype;
    gemm.bias = static_cast<float*>(put(HostArray(DType::f32, wide_values(kColumns, 3))));
    gemm.activation = activation;
    out = put(HostArray(dtype, kRows * kColumns));
    expected = put(HostArray(dtype, kRows * kColumns));
    p.out = out;
  }

  void* put(const HostArray& array) {
    kept.push_back(device->allocate(array.bytes.size()));
    device->upload(kept.back().get(), array.bytes.data(), array.bytes.size());
    return kept.back().get();
  }
  std::vector<float> numbers(const void* from) {
    HostArray array(gemm.product.dtype, kRows * kColumns);
    device->download(array.data(), from, array.bytes.size());
    std::vector<float> values;
    for (std::int64_t i = 0; i < array.count; ++i) values.push_back(array.at(i));
    return values;
  }
  std::vector<float> by_two_kernels() {
    auto two = gemm;
    two.product.out = expected;
    run_by_two_kernels(*device, two);
    return numbers(expected);
  }

  std::unique_ptr<Device> device = test_device();
  std::vector<Memory> kept;
  ActivatedGemm gemm;
  void *out, *expected;
  std::unique_ptr<CudnnGemms> library = std::make_unique<CudnnGemms>(*device, fake_cudnn::open, [] { ++forgotten; });
};

}  // namespace

TEST_CASE("cuDNN's graph is the GEMM, its bias and its activation, in float32 until the result") {
  for (const auto dtype : {DType::bf16, DType::f16}) {
    for (const auto activation : {Activation::quick_gelu, Activation::gelu}) {
      CAPTURE(name_of(dtype));
      Setting s(dtype, activation);
      const auto expected = s.by_two_kernels();
      auto plans = s.library->plans(s.gemm);
      REQUIRE(plans.size() == 3);
      for (auto& plan : plans) {
        s.device->fill(s.out, 0xff, static_cast<std::size_t>(kRows * kColumns * 2));
        REQUIRE(plan->run(s.gemm));
        // The two kernels round between the product and the activation, too.
        CHECK(torchclip::test::largest_difference(s.numbers(s.out), expected) <= rounding(dtype));
      }
    }
  }
}

TEST_CASE("cuDNN: a plan is given the memory of the GEMM that it runs") {
  Setting s;
  const auto plans = s.library->plans(s.gemm);
  const auto other_bias = s.put(HostArray(DType::f32, wide_values(kColumns, 30)));
  REQUIRE(plans.at(0)->run(s.gemm));
  const auto before = s.numbers(s.out);
  s.gemm.bias = static_cast<float*>(other_bias);
  REQUIRE(plans.at(0)->run(s.gemm));
  CHECK(torchclip::test::largest_difference(s.numbers(s.out), before) > 1);
  CHECK(torchclip::test::largest_difference(s.numbers(s.out), s.by_two_kernels()) <= rounding(DType::bf16));
}

TEST_CASE("cuDNN: engines that refuse a graph, or need too much memory, are left out") {
  Setting s;
  fake_cudnn::settings().refusing_engine = 0;
  CHECK(s.library->plans(s.gemm).size() == 2);
  fake_cudnn::settings().roomy_engine = 1;
  CHECK(s.library->plans(s.gemm).size() == 1);
  fake_cudnn::settings().engines = 1;
  CHECK(s.library->plans(s.gemm).empty());
  fake_cudnn::settings().engines = 0;
  CHECK(s.library->plans(s.gemm).empty());
}

TEST_CASE("cuDNN: only the first engines are compiled") {
  Setting s;
  fake_cudnn::settings().engines = 20;
  CHECK(s.library->plans(s.gemm).size() == 4);
}

TEST_CASE("cuDNN: without the library there are no plans, and it is looked for once") {
  Setting s;
  fake_cudnn::settings().is_missing = true;
  CHECK(s.library->plans(s.gemm).empty());
  CHECK(s.library->plans(s.gemm).empty());
  CHECK(fake_cudnn::counts().opened == 1);
}

TEST_CASE("cuDNN: other activations are not asked for") {
  Setting s(DType::bf16, Activation::relu);
  CHECK(s.library->plans(s.gemm).empty());
}

TEST_CASE("cuDNN: a plan that it refuses to run says so, and the error is forgotten") {
  Setting s;
  const auto plans = s.library->plans(s.gemm);
  fake_cudnn::settings().refuses_to_run = true;
  CHECK(!plans.at(0)->run(s.gemm));
  CHECK(forgotten == 1);
}

TEST_CASE("cuDNN: whichever call fails, nothing is thrown and everything is given back") {
  int calls = 0;
  {
    Setting s;
    const auto plans = s.library->plans(s.gemm);
    REQUIRE(plans.at(0)->run(s.gemm));
    calls = fake_cudnn::counts().calls;
  }
  CHECK(fake_cudnn::counts().descriptors == 0);
  CHECK(fake_cudnn::counts().handles == 0);
  for (int call = 0; call < calls; ++call) {
    CAPTURE(call);
    {
      Setting s;
      fake_cudnn::settings().failing_call = call;
      const auto plans = s.library->plans(s.gemm);
      const bool ran = !plans.empty() && plans.at(0)->run(s.gemm);
      if (ran)
        CHECK(torchclip::test::largest_difference(s.numbers(s.out), s.by_two_kernels()) <= rounding(DType::bf16));
    }
    CHECK(fake_cudnn::counts().descriptors == 0);
    CHECK(fake_cudnn::counts().handles == 0);
  }
}
