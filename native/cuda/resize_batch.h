// Images of any sizes that the device resizes together.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "image/resize_plan.h"
#include "kernels.h"

namespace torchclip::cuda {

// What one call of encode_images sends: the images, their tables, the jobs that point into them.
class ResizeBatch {
 public:
  // on_device: where the image's pixels will lie, null: they are sent.
  void add(const core::Image& image, const core::Transform& transform, const std::uint8_t* on_device) {
    const auto plan = core::plan_resize(image.width, image.height, image.channels, transform);
    Item item;
    item.shape = plan.shape;
    item.on_device = on_device;
    item.image = on_device ? 0
                           : put(image.pixels,
                                 static_cast<std::size_t>(std::int64_t{image.width} * image.height * image.channels));
    item.x_taps = put(plan.x_taps.data(), plan.x_taps.size() * sizeof plan.x_taps[0]);
    item.y_taps = put(plan.y_taps.data(), plan.y_taps.size() * sizeof plan.y_taps[0]);
    item.x_weights = put(plan.x_weights.data(), plan.x_weights.size() * 4);
    item.y_weights = put(plan.y_weights.data(), plan.y_weights.size() * 4);
    item.between = between_;
    between_ += core::round_up(plan.shape.between_bytes(), 256);
    const std::int64_t out_bytes = static_cast<std::int64_t>(plan.shape.out_width) * plan.shape.out_height * 3;
    most_ = std::max({most_, plan.shape.between_bytes(), out_bytes});
    items_.push_back(item);
  }

  std::size_t bytes() const { return data_.size(); }
  std::int64_t between_bytes() const { return between_; }
  std::int64_t most() const { return most_; }
  std::int64_t jobs_offset() const { return jobs_; }

  // The jobs, once it is known where the bytes will lie.
  void end(const char* base, std::uint8_t* between, std::uint8_t* out) {
    std::vector<ResizeJob> jobs;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      const auto& t = items_[i];
      const std::int64_t plane = static_cast<std::int64_t>(t.shape.size) * t.shape.size * 3;
      const auto* sent = reinterpret_cast<const std::uint8_t*>(base + t.image);
      jobs.push_back({t.on_device ? t.on_device : sent, between + t.between, out + static_cast<std::int64_t>(i) * plane,
                      reinterpret_cast<const core::Taps*>(base + t.x_taps),
                      reinterpret_cast<const core::Taps*>(base + t.y_taps),
                      reinterpret_cast<const std::int32_t*>(base + t.x_weights),
                      reinterpret_cast<const std::int32_t*>(base + t.y_weights), t.shape});
    }
    std::memcpy(data_.data() + jobs_, jobs.data(), jobs.size() * sizeof jobs[0]);
  }
  // Before end(): room for the jobs.
  void close() { jobs_ = put(nullptr, items_.size() * sizeof(ResizeJob)); }
  const char* data() const { return data_.data(); }

 private:
  struct Item {
    core::ResizeShape shape;
    const std::uint8_t* on_device;
    std::int64_t image, x_taps, y_taps, x_weights, y_weights, between;
  };
  std::int64_t put(const void* from, std::size_t bytes) {
    const auto at = static_cast<std::int64_t>(data_.size());
    data_.resize(data_.size() + static_cast<std::size_t>(core::round_up(static_cast<std::int64_t>(bytes), 16)));
    if (from) std::memcpy(data_.data() + at, from, bytes);
    return at;
  }
  std::vector<char> data_;
  std::vector<Item> items_;
  std::int64_t between_ = 0, most_ = 0, jobs_ = 0;
};

}  // namespace torchclip::cuda
