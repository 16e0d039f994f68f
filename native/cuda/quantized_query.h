// The queries of a search as int8 on a device.
#pragma once

#include <cstdint>
#include <vector>

#include "device.h"
#include "prefilter.h"

namespace torchclip::cuda {

class QueryBlock {
 public:
  // `length`: a multiple of 64.
  QueryBlock(Device& device, std::int64_t length, std::int64_t count);

  // Quantizes float [count, length], on the host, and sends them. Returns for each query whether it has bounds: all of
  // its values are finite, and the largest is 0 or in 2^-40 ... 2^40.
  std::vector<bool> send(const float* queries);
  // Queries [first, first + count); count <= kQueriesTogether.
  QuantizedQueries queries(std::int64_t first, std::int64_t count) const;

 private:
  bool quantize(const float* query, std::int64_t index);

  Device& device_;
  const std::int64_t length_, count_;
  std::vector<std::int8_t> values_;  // [count + kQueriesTogether, length]: zeros follow the last one
  std::vector<float> numbers_;       // scales, lengths and steps: [3, count]
  Memory values_on_device_, numbers_on_device_;
};

}  // namespace torchclip::cuda
