// Feature maps of convolutional towers: one row for each pixel, with its channels side by side, f32, without gaps.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "linalg/arena.h"
#include "linalg/packed.h"

namespace torchclip::core {

struct Features {
  Matrix pixels;  // [images * side * side, channels]
  std::int64_t side = 0;

  std::int64_t images() const { return pixels.rows / (side * side); }
  std::int64_t lines() const { return pixels.rows / side; }  // Of all images.
};

// The lines of a task that computes them from end to end: about as many pixels as a matrix multiplication needs at
// once, and fewer if there would be too few tasks for the threads.
inline std::int64_t lines_of_task(const Context& context, std::int64_t lines, std::int64_t side) {
  constexpr std::int64_t kPixels = 128, kTasksPerThread = 4;
  const std::int64_t share = lines / (context.pool.size() * kTasksPerThread);
  return std::max<std::int64_t>(1, std::min(kPixels / side, share));
}

// Calls work(begin, count, thread) for groups of `lines` lines of `side` pixels, on all threads. A group has at most
// lines_of_task() lines.
template <typename Work>
void in_lines(const Context& context, std::int64_t lines, std::int64_t side, Work&& work) {
  const std::int64_t group = lines_of_task(context, lines, side);
  context.pool.parallel_for((lines + group - 1) / group, [&](std::int64_t task, int thread) {
    const std::int64_t begin = task * group;
    work(begin, std::min(group, lines - begin), thread);
  });
}

// The first layers of a tower have few weights and large features. They run for a few images at a time, whose features
// then stay in the caches: work(begin, count) returns those of `count` images from `begin` on, in the arena. They are
// copied to `all`.
template <typename Work>
void in_image_groups(const Context& context, Arena& arena, const Features& all, Work&& work) {
  const std::int64_t group = (context.pool.size() + 3) / 4, images = all.images();
  for (std::int64_t begin = 0; begin < images; begin += group) {
    const Arena::Scope scope(arena);
    const std::int64_t count = std::min(group, images - begin), lines = count * all.side;
    const Matrix from = work(begin, count).pixels;
    const Matrix to = all.pixels.row_slice(begin * all.side * all.side, from.rows);
    const auto line_bytes = static_cast<std::size_t>(all.side * to.stride_bytes());
    context.pool.parallel_for(lines, [&](std::int64_t i) {
      std::memcpy(to.row<char>(i * all.side), from.row<char>(i * all.side), line_bytes);
    });
  }
}

// Writes the mean of the pixels of each image to means: f32 [images, channels].
void mean_pixels(const Context& context, const ConstMatrix& pixels, const Matrix& means);

}  // namespace torchclip::core
