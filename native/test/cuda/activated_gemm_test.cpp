// GEMMs with an activation on the tests' device, in the way that it chooses, against a GEMM and a kernel.
#include <cstdint>
#include <memory>
#include <vector>

#include "activated_gemms.h"
#include "bench.h"
#include "check.h"
#include "model_inputs.h"

using namespace torchclip::cuda;
using torchclip::test::name_of;

namespace {

constexpr std::int64_t kRows = 4096, kInner = 64, kColumns = 64;

class Setting {
 public:
  explicit Setting(DType dtype) : dtype_(dtype) {
    auto& p = gemm_.product;
    p.a = put(dtype, wide_values(kRows * kInner, 1));
    p.weights = put(dtype, wide_values(kColumns * kInner, 2));
    p.rows = kRows;
    p.inner = kInner;
    p.columns = p.stride = kColumns;
    p.dtype = p.out_dtype = dtype;
    gemm_.bias = static_cast<float*>(put(DType::f32, wide_values(kColumns, 3)));
    gemm_.product.out = put(dtype, std::vector<float>(kRows * kColumns));
  }

  std::vector<float> by_the_device(Activation activation) {
    gemm_.activation = activation;
    device_->activated_gemm(gemm_);
    return result();
  }
  std::vector<float> by_two_kernels(Activation activation) {
    gemm_.activation = activation;
    run_by_two_kernels(*device_, gemm_);
    return result();
  }

 private:
  void* put(DType dtype, const std::vector<float>& values) {
    const HostArray array(dtype, values);
    kept_.push_back(device_->allocate(array.bytes.size()));
    device_->upload(kept_.back().get(), array.bytes.data(), array.bytes.size());
    return kept_.back().get();
  }
  std::vector<float> result() {
    HostArray array(dtype_, kRows * kColumns);
    device_->download(array.data(), gemm_.product.out, array.bytes.size());
    device_->fill(gemm_.product.out, 0xff, array.bytes.size());
    std::vector<float> values;
    for (std::int64_t i = 0; i < array.count; ++i) values.push_back(array.at(i));
    return values;
  }

  std::unique_ptr<Device> device_ = test_device();
  DType dtype_;
  ActivatedGemm gemm_;
  std::vector<Memory> kept_;
};

}  // namespace

TEST_CASE(
    "GEMMs with an activation: the first pass and later ones, by whichever kernels, give the same up to rounding") {
  for (const auto dtype : kNumbers) {
    for (const auto activation : {Activation::quick_gelu, Activation::gelu}) {
      CAPTURE(name_of(dtype));
      Setting s(dtype);
      const auto expected = s.by_two_kernels(activation);
      for (int pass = 0; pass < 3; ++pass) {  // a GPU plans in the second one
        CAPTURE(pass);
        // Results are up to 50: a step or two of rounding there.
        CHECK(torchclip::test::largest_difference(s.by_the_device(activation), expected) <= 16 * rounding_step(dtype));
      }
    }
  }
}
