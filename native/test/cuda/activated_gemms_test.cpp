// When a GEMM and its activation are computed by one kernel, over models of a library and of its time.
#include "activated_gemms.h"

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <vector>

#include "base/error.h"
#include "bench.h"
#include "check.h"
#include "fused_device.h"
#include "model_inputs.h"

using namespace torchclip::cuda;

namespace {

constexpr std::int64_t kRows = 24, kInner = 64, kColumns = 32;

// How a plan behaves.
struct Behaviour {
  double cost = 5;                                 // Two kernels cost 10.
  Activation activation = Activation::quick_gelu;  // What it computes.
  double factor = 1;                               // What it multiplies the bias with.
  float scale = 1;                                 // What it multiplies the product with.
  int runs = INT32_MAX;                            // It refuses after so many.
};

class FakeLibrary final : public FusedLibrary {
 public:
  explicit FakeLibrary(FusedDevice& device) : device_(device) {}

  std::vector<std::unique_ptr<FusedPlan>> plans(const ActivatedGemm&) override {
    ++asked;
    if (is_full) throw torchclip::core::Error(TORCHCLIP_E_OUT_OF_MEMORY, "full");
    std::vector<std::unique_ptr<FusedPlan>> plans;
    for (auto& behaviour : behaviours) plans.push_back(std::make_unique<Plan>(*this, behaviour));
    return plans;
  }

  std::vector<Behaviour> behaviours{{}};
  int asked = 0, alive = 0;  // Plans that exist.
  bool is_full = false;
  const Behaviour* last = nullptr;  // Which plan ran last.

 private:
  class Plan final : public FusedPlan {
   public:
    Plan(FakeLibrary& library, Behaviour& behaviour) : library_(library), behaviour_(behaviour) { ++library_.alive; }
    ~Plan() override { --library_.alive; }
    bool run(const ActivatedGemm& gemm) override {
      if (behaviour_.runs-- <= 0) return false;
      library_.last = &behaviour_;
      library_.compute(gemm, behaviour_);
      return true;
    }

   private:
    FakeLibrary& library_;
    Behaviour& behaviour_;
  };

  void compute(const ActivatedGemm& gemm, const Behaviour& behaviour) {
    const int gemms = device_.gemms;
    const double spent = device_.spent;
    auto changed = gemm;
    changed.activation = behaviour.activation;
    changed.product.scale = behaviour.scale;
    std::vector<float> bias(static_cast<std::size_t>(gemm.product.columns));
    device_.download(bias.data(), gemm.bias, bias.size() * 4);
    for (auto& value : bias) value = static_cast<float>(value * behaviour.factor);
    kept_ = device_.allocate(bias.size() * 4);
    device_.upload(kept_.get(), bias.data(), bias.size() * 4);
    changed.bias = static_cast<float*>(kept_.get());
    run_by_two_kernels(device_, changed);
    device_.gemms = gemms;  // It is one kernel.
    device_.spent = spent + behaviour.cost;
    device_.by_one = true;
  }

  FusedDevice& device_;
  Memory kept_;
};

struct Setting {
  explicit Setting(const ActivatedGemmOptions& options = {16, 4}) : gemms(device, &library, options) {
    device.fused = &gemms;
  }

  // A GEMM of one layer, by its number.
  ActivatedGemm layer(int number = 0, std::int64_t rows = kRows, DType dtype = DType::bf16) {
    ActivatedGemm g;
    auto& p = g.product;
    p.a = put(HostArray(dtype, wide_values(rows * kInner, 1)));
    p.weights = weights_of(number, dtype);
    p.rows = rows;
    p.inner = kInner;
    p.columns = p.stride = kColumns;
    p.dtype = p.out_dtype = dtype;
    p.out = put(HostArray(dtype, rows * kColumns));
    g.bias = static_cast<float*>(put(HostArray(DType::f32, wide_values(kColumns, 3))));
    g.activation = Activation::quick_gelu;
    return g;
  }
  // Whether one kernel computed it, with the right result.
  bool is_fused(const ActivatedGemm& g, Planning planning = Planning::now) {
    const auto bytes = static_cast<std::size_t>(g.product.rows * kColumns * size_of(g.product.dtype));
    device.fill(g.product.out, 0xff, bytes);
    gemms.run(g, planning);
    const bool fused = device.by_one;  // What ran last; what ran before were trials.
    const auto got = numbers(g);
    run_by_two_kernels(device, g);
    CHECK(torchclip::test::largest_difference(got, numbers(g)) <= 0.04);
    return fused;
  }

  FusedDevice device;
  FakeLibrary library{device};
  ActivatedGemms gemms;

 private:
  void* put(const HostArray& array) {
    kept_.push_back(device.allocate(array.bytes.size()));
    device.upload(kept_.back().get(), array.bytes.data(), array.bytes.size());
    return kept_.back().get();
  }
  void* weights_of(int number, DType dtype) {
    while (static_cast<int>(weights_.size()) <= number) {
      weights_.push_back(put(HostArray(dtype, wide_values(kColumns * kInner, 2))));
    }
    return weights_[static_cast<std::size_t>(number)];
  }
  std::vector<float> numbers(const ActivatedGemm& g) {
    HostArray array(g.product.dtype, g.product.rows * kColumns);
    device.download(array.data(), g.product.out, array.bytes.size());
    std::vector<float> values;
    for (std::int64_t i = 0; i < array.count; ++i) values.push_back(array.at(i));
    return values;
  }

  std::vector<Memory> kept_;
  std::vector<void*> weights_;
};

}  // namespace

TEST_CASE("one kernel is used where it agrees and is faster, and is tried once") {
  Setting s;
  CHECK(s.is_fused(s.layer()));
  CHECK(s.is_fused(s.layer(1)));
  CHECK(s.library.asked == 1);
  CHECK(s.gemms.fused_shapes() == 1);
}

TEST_CASE("the fastest of the plans that agree is used") {
  Setting s;
  s.library.behaviours = {{.cost = 8}, {.cost = 1, .activation = Activation::silu}, {.cost = 6}, {.cost = 7}};
  CHECK(s.is_fused(s.layer()));
  CHECK(s.library.last == &s.library.behaviours[2]);
}

TEST_CASE("one kernel that is slower is not used, nor tried again") {
  Setting s;
  s.library.behaviours = {{.cost = 11}};
  CHECK(!s.is_fused(s.layer()));
  CHECK(!s.is_fused(s.layer()));
  CHECK(s.library.asked == 1);
}

TEST_CASE("another activation, another bias and another product are noticed") {
  for (const Behaviour& wrong :
       {Behaviour{.activation = Activation::silu}, Behaviour{.factor = 0.9}, Behaviour{.scale = 0.9f}}) {
    Setting s;
    s.library.behaviours = {wrong};
    CHECK(!s.is_fused(s.layer()));
  }
}

TEST_CASE("two kernels where the library is missing or has no plan") {
  Setting s;
  s.library.behaviours = {};
  CHECK(!s.is_fused(s.layer()));
  CHECK(!s.is_fused(s.layer()));
  CHECK(s.library.asked == 1);
  ActivatedGemms without(s.device, nullptr, {16, 4});
  const auto gemm = s.layer();
  const int before = s.device.gemms;
  without.run(gemm, Planning::now);
  CHECK(s.device.gemms == before + 1);
}

TEST_CASE("a plan that fails in its trial is not used") {
  for (const int runs : {0, 1, 2, 4}) {
    Setting s;
    s.library.behaviours = {{.runs = runs}};
    CHECK(!s.is_fused(s.layer()));
    CHECK(s.gemms.fused_shapes() == 0);
  }
}

TEST_CASE("a plan that fails later is computed by two kernels, and not used again") {
  Setting s;
  CHECK(s.is_fused(s.layer()));
  s.library.behaviours[0].runs = 1;
  CHECK(s.is_fused(s.layer()));
  CHECK(!s.is_fused(s.layer()));
  s.library.behaviours[0].runs = 100;
  CHECK(!s.is_fused(s.layer()));
  CHECK(s.gemms.fused_shapes() == 0);
  CHECK(s.library.alive == 1);  // captured passes may still use its kernel
}

TEST_CASE("two kernels where there is no room to try others") {
  Setting s;
  s.library.is_full = true;
  CHECK(!s.is_fused(s.layer()));
  s.library.is_full = false;
  CHECK(!s.is_fused(s.layer()));
  CHECK(s.library.asked == 1);
}

TEST_CASE("nothing is planned where nothing may be timed, and what was planned before is used") {
  Setting s;
  for (int pass = 0; pass < 3; ++pass) CHECK(!s.is_fused(s.layer(), Planning::never));
  CHECK(s.library.asked == 0);
  CHECK(s.is_fused(s.layer(), Planning::now));
  CHECK(s.is_fused(s.layer(), Planning::never));
  CHECK(s.library.asked == 1);
}

TEST_CASE("shapes of any number of rows are planned in their second pass") {
  Setting s;
  for (int layer = 0; layer < 3; ++layer) CHECK(!s.is_fused(s.layer(layer), Planning::repeated));
  CHECK(s.is_fused(s.layer(0), Planning::repeated));
  CHECK(s.is_fused(s.layer(1), Planning::repeated));
  for (std::int64_t rows = 32; rows < 48; ++rows) CHECK(!s.is_fused(s.layer(0, rows), Planning::repeated));
  CHECK(s.library.asked == 1);
}

TEST_CASE("few rows, and more shapes than are kept, are left to two kernels") {
  Setting s({16, 2});
  CHECK(!s.is_fused(s.layer(0, 15)));
  CHECK(s.is_fused(s.layer(0, 16)));
  CHECK(s.is_fused(s.layer(0, 17)));
  s.gemms.run(s.layer(0, 18), Planning::now);
  CHECK(s.library.asked == 2);
  CHECK(s.is_fused(s.layer(0, 16)));
}

TEST_CASE("float32, strides, sums and other activations are left to two kernels") {
  Setting s;
  CHECK(!s.is_fused(s.layer(0, kRows, DType::f32)));
  auto tanh = s.layer(1);
  tanh.activation = Activation::gelu_tanh;
  CHECK(!s.is_fused(tanh));
  auto unaligned = s.layer(1);
  unaligned.product.a = static_cast<const char*>(unaligned.product.a) + 2;
  unaligned.product.rows = 16;
  s.gemms.run(unaligned, Planning::now);
  CHECK(s.library.asked == 0);
}
