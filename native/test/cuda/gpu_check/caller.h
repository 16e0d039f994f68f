// A model that is called with images of the host's memory, as a program calls it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "measure.h"

namespace torchclip::gpu_check {

// A copy of images in page-locked memory, that of a slot of a device of its own.
class PinnedPixels {
 public:
  explicit PinnedPixels(const std::vector<std::uint8_t>& pixels);
  const std::uint8_t* data() const { return data_; }

 private:
  std::unique_ptr<cuda::Device> device_;
  std::uint8_t* data_ = nullptr;
};

// A model, up to `most` images for it, and room for the results of two calls.
struct Caller {
  Caller(const Subject& subject, const std::string& precision, std::int64_t most);

  void encode(std::int64_t batch) { model->encode_pixels(pixels.data(), batch, out[0].data(), {true, nullptr}); }
  // Images a second of `calls` calls, one after another.
  double speed(std::int64_t batch, int calls);
  // Images a second of `calls` calls, of which each begins before the results of the one before it are waited for.
  double speed_ahead(const std::uint8_t* from, std::int64_t batch, int calls);

  const Subject& subject;
  const std::int64_t most;
  std::unique_ptr<cuda::Model> model;
  const std::vector<std::uint8_t> pixels;
  Rows out[2];
};

}  // namespace torchclip::gpu_check
