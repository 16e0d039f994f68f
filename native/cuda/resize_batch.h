// Images of any sizes that the device resizes together.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "device.h"
#include "image/resize_plan.h"
#include "kernels.h"

namespace torchclip::cuda {

// What one pass of encode_images sends: the images, the tables of their resizes, and the jobs that point into them. It
// is planned first, so that everything is then written straight to where it is sent from, by several threads.
class ResizeBatch {
 public:
  struct Source {
    core::Image image;
    const std::uint8_t* on_device;  // Where the image's pixels are on the device; null: they are sent.
  };

  ResizeBatch(Device& device, const std::vector<Source>& sources, const core::Transform& transform) : device_(device) {
    items_.resize(sources.size());
    device_.parallel(static_cast<std::int64_t>(sources.size()), [&](std::int64_t i) {
      auto& item = items_[static_cast<std::size_t>(i)];
      item.source = sources[static_cast<std::size_t>(i)];
      const auto& image = item.source.image;
      item.plan = core::plan_resize(image.width, image.height, image.channels, transform);
    });
    for (auto& item : items_) place(item);
    jobs_ = room(items_.size() * sizeof(ResizeJob));
  }

  std::size_t bytes() const { return static_cast<std::size_t>(bytes_); }  // Of what is sent.
  std::int64_t between_bytes() const { return between_; }                 // Of the images between the two passes.
  std::int64_t most() const { return most_; }                             // As `resize` takes it.
  std::int64_t jobs_offset() const { return jobs_; }                      // Of the jobs in what is sent.

  // Writes what is sent to `to`, of bytes(). It will lie at `base` on the device, the images between the two passes at
  // `between`, and the results at `out`.
  void write(char* to, const char* base, std::uint8_t* between, std::uint8_t* out) const {
    device_.parallel(static_cast<std::int64_t>(items_.size()), [&](std::int64_t i) {
      const auto& item = items_[static_cast<std::size_t>(i)];
      const auto& shape = item.plan.shape;
      if (!item.source.on_device) std::memcpy(to + item.image, item.source.image.pixels, image_bytes(item));
      copy(to + item.x_taps, item.plan.x_taps);
      copy(to + item.y_taps, item.plan.y_taps);
      copy(to + item.x_weights, item.plan.x_weights);
      copy(to + item.y_weights, item.plan.y_weights);
      const auto* sent = reinterpret_cast<const std::uint8_t*>(base + item.image);
      const ResizeJob job{item.source.on_device ? item.source.on_device : sent,
                          between + item.between,
                          out + i * std::int64_t{shape.size} * shape.size * 3,
                          reinterpret_cast<const core::Taps*>(base + item.x_taps),
                          reinterpret_cast<const core::Taps*>(base + item.y_taps),
                          reinterpret_cast<const std::int32_t*>(base + item.x_weights),
                          reinterpret_cast<const std::int32_t*>(base + item.y_weights),
                          shape};
      std::memcpy(to + jobs_ + i * static_cast<std::int64_t>(sizeof job), &job, sizeof job);
    });
  }

 private:
  struct Item {
    Source source;
    core::ResizePlan plan;
    std::int64_t image, x_taps, y_taps, x_weights, y_weights, between;  // offsets
  };

  template <typename T>
  static std::size_t bytes_of(const std::vector<T>& v) {
    return v.size() * sizeof(T);
  }
  template <typename T>
  static void copy(char* to, const std::vector<T>& v) {
    std::memcpy(to, v.data(), bytes_of(v));
  }
  static std::size_t image_bytes(const Item& item) {
    const auto& image = item.source.image;
    return static_cast<std::size_t>(std::int64_t{image.width} * image.height * image.channels);
  }

  // Gives the parts of an image their places.
  void place(Item& item) {
    const auto& shape = item.plan.shape;
    item.image = item.source.on_device ? 0 : room(image_bytes(item));
    item.x_taps = room(bytes_of(item.plan.x_taps));
    item.y_taps = room(bytes_of(item.plan.y_taps));
    item.x_weights = room(bytes_of(item.plan.x_weights));
    item.y_weights = room(bytes_of(item.plan.y_weights));
    item.between = between_;
    between_ += core::round_up(shape.between_bytes(), 256);
    most_ = std::max({most_, shape.between_bytes(), std::int64_t{shape.out_width} * shape.out_height * 3});
  }

  std::int64_t room(std::size_t bytes) {
    return std::exchange(bytes_, bytes_ + core::round_up(static_cast<std::int64_t>(bytes), 16));
  }

  Device& device_;
  std::vector<Item> items_;
  std::int64_t bytes_ = 0, between_ = 0, most_ = 0, jobs_ = 0;
};

}  // namespace torchclip::cuda
