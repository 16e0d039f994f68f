// FP8 (E4M3): the scales of weights and inputs, and the kernels that write it, against their references.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "bench.h"
#include "calibration.h"
#include "check.h"
#include "product_input.h"

using namespace torchclip::cuda;

namespace {

// How many numbers of the device are not those of the reference, and whether each of them is a neighbour of it: a sum
// that is rounded in another order may fall on the other side of a tie.
struct Differences {
  std::int64_t count = 0;
  bool neighbours = true;
};

Differences differences(Bench& bench, const void* on_device, const HostArray& expected) {
  Differences found;
  const auto bytes = bench.get<std::uint8_t>(on_device, expected.bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const int apart = std::abs(bytes[i] - static_cast<std::uint8_t>(expected.bytes[i]));
    found.count += apart == 0 ? 0 : 1;
    found.neighbours = found.neighbours && apart <= 1;
  }
  return found;
}

}  // namespace

TEST_CASE("a scale is the least power of two by which E4M3 holds the largest number") {
  CHECK(e4m3_scale(448) == 1);
  CHECK(e4m3_scale(std::nextafter(448.0f, 449.0f)) == 2);
  CHECK(e4m3_scale(224) == 0.5f);
  CHECK(e4m3_scale(225) == 1);
  CHECK(e4m3_scale(1) == 1.0f / 256);
  CHECK(e4m3_scale(100000) == 256);
  for (const float largest : {1e-38f, 1e-3f, 0.7f, 3.0f, 1e6f, 1e38f}) {
    CAPTURE(largest);
    const float scale = e4m3_scale(largest);
    int exponent = 0;
    CHECK(std::frexp(scale, &exponent) == 0.5f);
    CHECK(std::isfinite(1 / scale));
    CHECK(std::isfinite(1 / (scale * scale)));
  }
  for (const float none : {0.0f, -1.0f, INFINITY, NAN}) CHECK(e4m3_scale(none) == 1);
}

TEST_CASE("quantize: every number of bf16 becomes the E4M3 number that its definition names") {
  std::vector<Bf16> all;
  for (std::uint32_t i = 0; i < 0x10000; ++i) all.push_back({static_cast<std::uint16_t>(i)});
  const auto count = static_cast<std::int64_t>(all.size());
  for (const float scale : {1.0f, 0.125f, 32.0f}) {
    CAPTURE(scale);
    Bench bench;
    HostArray expected(DType::e4m3, count);
    for (std::int64_t i = 0; i < count; ++i) {
      reference::set(expected.data(), DType::e4m3, i, to_float(all[static_cast<std::size_t>(i)]) * scale);
    }
    auto* out = bench.room(expected);
    quantize(bench.stream(), bench.put(all), count, {DType::e4m3, scale}, out);
    CHECK(differences(bench, out, expected).count == 0);
  }
}

TEST_CASE("add and norm: E4M3 of rows of every width") {
  constexpr std::int64_t kRows = 11;
  for (const std::int64_t width : {16, 192, 768, 1024, 1664, 2064}) {
    CAPTURE(width);
    Bench bench;
    const auto values = wide_values(kRows * width, 4), gamma = wide_values(width, 5), beta = wide_values(width, 6);
    const HostArray delta(DType::bf16, wide_values(kRows * width, 7));
    HostArray x(DType::f32, values), expected(DType::e4m3, kRows * width);
    auto* stream = reinterpret_cast<float*>(bench.put(x.bytes));
    auto* out = bench.room(expected);
    const NumberFormat format{DType::e4m3, 32};
    add_norm(bench.stream(), stream, {bench.put_bf16s(delta), nullptr}, false, kRows, width,
             {bench.put(gamma), bench.put(beta), 1e-5f}, format, out);
    reference::add_norm(x.floats(), {delta.bf16s(), nullptr}, false, kRows, width, {gamma.data(), beta.data(), 1e-5f},
                        format, expected.data());
    const auto found = differences(bench, out, expected);
    CHECK(found.neighbours);
    CHECK(found.count * 500 <= kRows * width);
  }
}

TEST_CASE("bias and activation to E4M3 and to bf16: every activation") {
  constexpr std::int64_t kRows = 9, kColumns = 80;
  Bench bench;
  const HostArray x(DType::bf16, wide_values(kRows * kColumns, 9));
  const auto bias = wide_values(kColumns, 10);
  for (const auto activation : {Activation::none, Activation::quick_gelu, Activation::gelu, Activation::gelu_tanh,
                                Activation::relu, Activation::silu}) {
    CAPTURE(static_cast<int>(activation));
    HostArray exact(DType::f32, kRows * kColumns), bf16(DType::bf16, kRows * kColumns),
        fp8(DType::e4m3, kRows * kColumns);
    for (std::int64_t i = 0; i < exact.count; ++i) reference::set(exact.data(), DType::f32, i, x.at(i));
    reference::bias_activation(exact.data(), DType::f32, kRows, kColumns, bias.data(), activation);
    for (std::int64_t i = 0; i < exact.count; ++i) {
      reference::set(bf16.data(), DType::bf16, i, exact.at(i));
      reference::set(fp8.data(), DType::e4m3, i, exact.at(i) * 64);
    }
    const auto* from = bench.put(x.bytes);
    auto *as_bf16 = bench.room(bf16), *as_fp8 = bench.room(fp8);
    bias_activation_to(bench.stream(), from, kRows, kColumns, bench.put(bias), activation, {DType::bf16, 1}, as_bf16);
    bias_activation_to(bench.stream(), from, kRows, kColumns, bench.put(bias), activation, {DType::e4m3, 64}, as_fp8);
    CHECK(bench.difference(as_bf16, bf16) <= rounding_step(DType::bf16));
    const auto found = differences(bench, as_fp8, fp8);
    CHECK(found.neighbours);
    CHECK(found.count * 100 <= fp8.count);
  }
}

TEST_CASE("fill values in E4M3") {
  constexpr std::int64_t kCount = 1000;
  Bench bench;
  HostArray expected(DType::e4m3, kCount);
  auto* out = bench.room(expected);
  fill_values(bench.stream(), DType::e4m3, kCount, out);
  for (std::int64_t i = 0; i < kCount; ++i) reference::set(expected.data(), DType::e4m3, i, value_at(i));
  CHECK(differences(bench, out, expected).count == 0);
}

TEST_CASE("the largest magnitude of an input") {
  const auto device = test_device();
  HostArray numbers(DType::bf16, wide_values(70000, 3));
  reference::set(numbers.data(), DType::bf16, 69999, -8.5f);
  const auto memory = device->allocate(numbers.bytes.size());
  const auto found = [&] {
    device->upload(memory.get(), numbers.bytes.data(), numbers.bytes.size());
    return largest_magnitude(*device, memory.get(), numbers.count);
  };
  CHECK(found() == 8.5f);
  reference::set(numbers.data(), DType::bf16, 5, NAN);
  CHECK(std::isnan(found()));
}

TEST_CASE("an input of E4M3 raises its scale while the model calibrates, and never afterwards") {
  const auto device = test_device();
  Workspace workspace(*device);
  Linear layer;
  layer.inner = 16;
  layer.dtype = DType::e4m3;
  layer.input_scale = 0;
  const auto quantize_rows = [&](float largest) {
    HostArray row(DType::bf16, std::vector<float>(16, 0.25f));
    reference::set(row.data(), DType::bf16, 3, largest);
    const auto memory = device->allocate(row.bytes.size());
    device->upload(memory.get(), row.bytes.data(), row.bytes.size());
    std::vector<E4m3> out(16);
    device->download(out.data(), quantized(*device, workspace, layer, Workspace::kInput, 1, memory.get()), out.size());
    return out;
  };
  workspace.set_calibrating(true);
  quantize_rows(-100);
  CHECK(layer.input_scale == e4m3_scale(kHeadroom * 100));
  quantize_rows(1);  // a smaller one changes nothing
  CHECK(layer.input_scale == e4m3_scale(kHeadroom * 100));
  quantize_rows(1000);
  CHECK(layer.input_scale == e4m3_scale(kHeadroom * 1000));
  workspace.set_calibrating(false);
  const auto out = quantize_rows(1e6f);
  CHECK(layer.input_scale == e4m3_scale(kHeadroom * 1000));
  CHECK(to_float(out[3]) == kE4m3Max);  // what calibration did not see is as large as E4M3 is
  CHECK(to_float(out[0]) * layer.input_scale == 0.25f);
}

TEST_CASE("what a model is calibrated with is the same each time, and differs between batches") {
  constexpr std::int64_t kSize = 28;
  const auto pixels = calibration_pixels(kSize, 0);
  CHECK(pixels.size() == kCalibrationRows * kSize * kSize * 3);
  CHECK(pixels == calibration_pixels(kSize, 0));
  CHECK(pixels != calibration_pixels(kSize, 1));
  const auto ids = calibration_ids(32, 100, 99, 0);
  CHECK(ids.size() == kCalibrationRows * 32);
  CHECK(ids == calibration_ids(32, 100, 99, 0));
  CHECK(ids != calibration_ids(32, 100, 99, 1));
  CHECK(std::all_of(ids.begin(), ids.end(), [](std::int32_t id) { return id >= 0 && id < 100; }));
  CHECK(std::count(ids.begin(), ids.end(), 99) == kCalibrationRows);
}
