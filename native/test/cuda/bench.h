// The tests' device with arrays on it, and what the kernels left there against their references.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels.h"
#include "reference_kernels.h"
#include "test_device.h"
#include "values.h"

namespace torchclip::cuda {

constexpr DType kNumbers[] = {DType::f32, DType::f16, DType::bf16};

// The distance of neighbouring numbers at 4 in magnitude.
constexpr double rounding_step(DType number) {
  switch (number) {
    case DType::f32:
      return 4e-6;
    case DType::f16:
      return 0.004;
    default:
      return 0.032;
  }
}

// Numbers in [-2, 2).
inline std::vector<float> wide_values(std::int64_t n, std::uint32_t seed) {
  auto v = test::values(static_cast<std::size_t>(n), seed);
  for (auto& x : v) x *= 2;
  return v;
}

inline std::vector<std::uint8_t> random_bytes(std::int64_t n, std::uint32_t seed) {
  std::vector<std::uint8_t> v(static_cast<std::size_t>(n));
  for (auto& x : v) x = static_cast<std::uint8_t>(test::next_random(seed) >> 24);
  return v;
}

// Numbers of one format in memory of the host.
struct HostArray {
  HostArray(DType format, std::int64_t n)
      : number(format), count(n), bytes(static_cast<std::size_t>(n * size_of(format))) {}
  HostArray(DType format, const std::vector<float>& from) : HostArray(format, static_cast<std::int64_t>(from.size())) {
    for (std::int64_t i = 0; i < count; ++i) reference::set(data(), number, i, from[static_cast<std::size_t>(i)]);
  }

  void* data() { return bytes.data(); }
  float* floats() { return reinterpret_cast<float*>(bytes.data()); }
  const Bf16* bf16s() const { return reinterpret_cast<const Bf16*>(bytes.data()); }
  float at(std::int64_t i) const { return reference::element(bytes.data(), number, i); }

  DType number;
  std::int64_t count;
  std::vector<char> bytes;
};

class Bench {
 public:
  template <typename T>
  T* put(const std::vector<T>& v) {
    auto memory = device_->allocate(v.size() * sizeof(T));
    device_->upload(memory.get(), v.data(), v.size() * sizeof(T));
    kept_.push_back(memory);
    return static_cast<T*>(memory.get());
  }
  template <typename T>
  std::vector<T> get(const void* from, std::size_t n) {
    std::vector<T> v(n);
    device_->download(v.data(), from, n * sizeof(T));
    return v;
  }
  const Bf16* put_bf16s(const HostArray& v) { return reinterpret_cast<const Bf16*>(put(v.bytes)); }
  // Room for an array like `like`.
  void* room(const HostArray& like) { return put(std::vector<char>(like.bytes.size(), 1)); }
  Stream stream() { return device_->stream(); }

  // The largest difference of the numbers on the device from those of the reference, which has the rounding of the
  // number.
  double difference(const void* on_device, const HostArray& expected) {
    HostArray got(expected.number, expected.count);
    device_->download(got.data(), on_device, got.bytes.size());
    double largest = 0;
    for (std::int64_t i = 0; i < expected.count; ++i) {
      const double error = std::abs(static_cast<double>(got.at(i)) - static_cast<double>(expected.at(i)));
      largest = test::larger_error(largest, error);
    }
    return largest;
  }

 private:
  std::unique_ptr<Device> device_ = test_device();
  std::vector<Memory> kept_;
};

}  // namespace torchclip::cuda
