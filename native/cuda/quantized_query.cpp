#include "quantized_query.h"

#include <algorithm>
#include <cmath>

namespace torchclip::cuda {
namespace {

constexpr double kRoundUp = 1.00001;  // Above the rounding of a norm to float32.

}  // namespace

QueryBlock::QueryBlock(Device& device, std::int64_t length, std::int64_t count)
    : device_(device),
      length_(length),
      count_(count),
      values_(static_cast<std::size_t>((count + kQueriesTogether) * length)),
      numbers_(static_cast<std::size_t>(3 * count)),
      values_on_device_(device.allocate(values_.size())),
      numbers_on_device_(device.allocate(numbers_.size() * 4)) {}

std::vector<bool> QueryBlock::send(const float* queries) {
  std::fill(values_.begin(), values_.end(), std::int8_t{0});
  std::fill(numbers_.begin(), numbers_.end(), 0.0f);
  std::vector<bool> bounded;
  for (std::int64_t q = 0; q < count_; ++q) bounded.push_back(quantize(queries + q * length_, q));
  device_.upload(values_on_device_.get(), values_.data(), values_.size());
  device_.upload(numbers_on_device_.get(), numbers_.data(), numbers_.size() * 4);
  return bounded;
}

QuantizedQueries QueryBlock::queries(std::int64_t first, std::int64_t count) const {
  const auto* values = static_cast<const std::int8_t*>(values_on_device_.get()) + first * length_;
  const auto* numbers = static_cast<const float*>(numbers_on_device_.get()) + first;
  return {values, numbers, numbers + count_, numbers + 2 * count_, count};
}

bool QueryBlock::quantize(const float* query, std::int64_t index) {
  const auto is_finite = [](float x) { return std::isfinite(x); };
  if (!std::all_of(query, query + length_, is_finite)) return false;
  float largest = 0;
  for (std::int64_t i = 0; i < length_; ++i) largest = std::max(largest, std::abs(query[i]));
  if (largest != 0 && (largest < std::ldexp(1.0f, -40) || largest > std::ldexp(1.0f, 40))) return false;
  const float scale = largest / 127, inverse = largest > 0 ? 127 / largest : 0;
  double length = 0, step = 0;
  for (std::int64_t i = 0; i < length_; ++i) {
    const float value = std::clamp(std::nearbyintf(query[i] * inverse), -127.0f, 127.0f);
    const double exact = query[i], rest = exact - static_cast<double>(scale) * value;
    length += exact * exact;
    step += rest * rest;
    values_[static_cast<std::size_t>(index * length_ + i)] = static_cast<std::int8_t>(value);
  }
  float* numbers = numbers_.data() + index;
  numbers[0] = scale;
  numbers[count_] = static_cast<float>(std::sqrt(length) * kRoundUp);
  numbers[2 * count_] = static_cast<float>(std::sqrt(step) * kRoundUp);
  return true;
}

}  // namespace torchclip::cuda
