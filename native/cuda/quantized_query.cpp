#include "quantized_query.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace torchclip::cuda {
namespace {

constexpr double kRoundUp = 1.00001;  // Above the rounding of a norm to float32.

}  // namespace

std::vector<bool> QueryBlock::write(const float* queries, void* to) const {
  std::memset(to, 0, static_cast<std::size_t>(bytes()));
  std::vector<bool> bounded;
  for (std::int64_t q = 0; q < count_; ++q) {
    bounded.push_back(quantize(queries + q * length_, numbers_of(to) + q, values_of(to) + q * length_));
  }
  return bounded;
}

QuantizedQueries QueryBlock::queries(const void* base, std::int64_t first, std::int64_t count) const {
  auto* written = const_cast<void*>(base);
  const float* numbers = numbers_of(written) + first;
  return {values_of(written) + first * length_, numbers, numbers + count_, numbers + 2 * count_, count};
}

bool QueryBlock::quantize(const float* query, float* numbers, std::int8_t* values) const {
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
    values[i] = static_cast<std::int8_t>(value);
  }
  numbers[0] = scale;
  numbers[count_] = static_cast<float>(std::sqrt(length) * kRoundUp);
  numbers[2 * count_] = static_cast<float>(std::sqrt(step) * kRoundUp);
  return true;
}

}  // namespace torchclip::cuda
