// The residual stream and what is added to it: in float32 and fp16 by the products, in bf16 by the next layer norm.
#include "residual.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "bench.h"
#include "check.h"

using namespace torchclip::cuda;
using torchclip::test::first_difference;

namespace {

constexpr std::int64_t kRows = 5, kWidth = 64, kInner = 32;

// A stream, two layers that add to it, and their input.
struct Setting {
  explicit Setting(DType number)
      : dtype(number),
        workspace(*device),
        input(dtype, wide_values(kRows * kInner, 2)),
        first(layer(3)),
        second(layer(4)),
        stream(put(wide_values(kRows * kWidth, 1))),
        input_memory(put_bytes(input.bytes)) {}

  Memory put_bytes(const std::vector<char>& bytes) {
    auto memory = device->allocate(bytes.size());
    device->upload(memory.get(), bytes.data(), bytes.size());
    return memory;
  }
  Memory put(const std::vector<float>& values) { return put_bytes(HostArray(DType::f32, values).bytes); }
  Linear layer(std::uint32_t seed) {
    Linear l{put_bytes(HostArray(dtype, wide_values(kWidth * kInner, seed)).bytes),
             put_bytes(HostArray(Residual::branch_dtype(dtype), wide_values(kWidth, seed + 10)).bytes),
             kWidth,
             kInner,
             dtype,
             Residual::branch_dtype(dtype)};
    return l;
  }
  float* x() { return static_cast<float*>(stream.get()); }
  std::vector<float> now() {
    std::vector<float> values(kRows * kWidth);
    device->download(values.data(), x(), values.size() * 4);
    return values;
  }
  // What a layer gives, rounded to the dtype.
  std::vector<float> product(const Linear& l) {
    HostArray out(dtype, kRows * kWidth);
    const auto memory = device->allocate(out.bytes.size());
    multiply(*device, input_memory.get(), kRows, l, memory.get(), dtype);
    device->download(out.data(), memory.get(), out.bytes.size());
    std::vector<float> values;
    for (std::int64_t i = 0; i < out.count; ++i) values.push_back(out.at(i));
    return values;
  }

  DType dtype;
  std::unique_ptr<Device> device = test_device();
  Workspace workspace;
  HostArray input;
  Linear first, second;
  Memory stream, input_memory;
};

std::vector<float> plus(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<float> sum;
  for (std::size_t i = 0; i < a.size(); ++i) sum.push_back(a[i] + b[i]);
  return sum;
}

}  // namespace

TEST_CASE("bf16: the stream is written with the norm after the second branch, and the norms see every branch") {
  const auto number = DType::bf16;
  Setting s(number);
  const auto before = s.now();
  const auto one = plus(before, s.product(s.first)), both = plus(one, s.product(s.second));
  Residual residual(*s.device, s.workspace, s.x(), kRows, kWidth, number);
  const auto normalized = [&] {
    HostArray out(number, kRows * kWidth);
    const auto memory = s.device->allocate(out.bytes.size());
    residual.normalize({}, {number, 1}, memory.get());  // without gamma: the stream itself, rounded
    s.device->download(out.data(), memory.get(), out.bytes.size());
    return out.bytes;
  };
  CHECK(normalized() == HostArray(number, before).bytes);
  residual.add(s.input_memory.get(), s.first);
  CHECK(normalized() == HostArray(number, one).bytes);
  CHECK(first_difference(s.now(), before) == "");
  residual.add(s.input_memory.get(), s.second);
  CHECK(normalized() == HostArray(number, both).bytes);
  CHECK(first_difference(s.now(), both) == "");
  CHECK(normalized() == HostArray(number, both).bytes);  // nothing is added twice
  CHECK(residual.settle() == s.x());
  CHECK(first_difference(s.now(), both) == "");
}

TEST_CASE("bf16: settle adds what no norm has stored, and a third branch is not lost") {
  const auto number = DType::bf16;
  Setting s(number);
  const auto first = s.product(s.first), second = s.product(s.second);
  const auto expected = plus(plus(plus(s.now(), first), second), first);
  Residual residual(*s.device, s.workspace, s.x(), kRows, kWidth, number);
  residual.add(s.input_memory.get(), s.first);
  residual.add(s.input_memory.get(), s.second);
  residual.add(s.input_memory.get(), s.first);
  residual.settle();
  CHECK(first_difference(s.now(), expected) == "");
  residual.settle();
  CHECK(first_difference(s.now(), expected) == "");
}

TEST_CASE("float32: products add to the stream at once, with the bits of a product that accumulates") {
  Setting s(DType::f32);
  const auto before = s.now();
  multiply(*s.device, s.input_memory.get(), kRows, s.first, s.x(), DType::f32, true);
  const auto expected = s.now();
  s.device->upload(s.x(), before.data(), before.size() * 4);
  Residual residual(*s.device, s.workspace, s.x(), kRows, kWidth, DType::f32);
  residual.add(s.input_memory.get(), s.first);
  CHECK(first_difference(s.now(), expected) == "");
  const auto gamma = s.put(wide_values(kWidth, 5));
  const NormWeights norm{static_cast<float*>(gamma.get()), nullptr, 1e-5f};
  std::vector<float> by_stream(kRows * kWidth), by_norm(by_stream.size());
  const auto out = s.device->allocate(by_norm.size() * 4);
  residual.normalize(norm, {DType::f32, 1}, out.get());
  s.device->download(by_stream.data(), out.get(), by_stream.size() * 4);
  layer_norm(s.device->stream(), s.x(), kWidth, nullptr, kRows, kWidth, norm, DType::f32, out.get());
  s.device->download(by_norm.data(), out.get(), by_norm.size() * 4);
  CHECK(first_difference(by_stream, by_norm) == "");
  CHECK(residual.settle() == s.x());
  CHECK(first_difference(s.now(), expected) == "");
}

TEST_CASE("fp16: a branch whose sum exceeds fp16's largest number is added to the stream as float32") {
  Setting s(DType::f16);
  s.first.bias = s.put(std::vector<float>(kWidth, 1e5F));
  Residual residual(*s.device, s.workspace, s.x(), kRows, kWidth, DType::f16);
  residual.add(s.input_memory.get(), s.first);
  for (const float value : s.now()) CHECK(std::abs(value - 1e5F) < 1e3F);
  CHECK(residual.settle() == s.x());
}
