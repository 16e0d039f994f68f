#include "model/cpu/patch_embedding.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"
#include "model/cpu/folded_convolution.h"

namespace torchclip::core {
namespace {

// Writes one line of patches of kernel x kernel pixels, in the order (line, column, channel), to rows of a matrix
// multiplication's input. features: [images * side * side, channels], without gaps; `first`: the first pixel of the
// line.
void feature_patches(const ConstMatrix& features, std::int64_t side, std::int64_t first, std::int64_t kernel,
                     const Matrix& to) {
  const std::int64_t line_bytes = kernel * features.stride_bytes(), patch_bytes = kernel * line_bytes;
  for (std::int64_t i = 0; i < to.rows; ++i) {
    char* patch = to.row<char>(i);
    for (std::int64_t y = 0; y < kernel; ++y) {
      const char* from = features.row<char>(first + y * side + i * kernel);
      std::memcpy(patch + y * line_bytes, from, static_cast<std::size_t>(line_bytes));
    }
    std::memset(patch + patch_bytes, 0, static_cast<std::size_t>(to.stride_bytes() - patch_bytes));
  }
}

}  // namespace

PatchEmbedding::PatchEmbedding(const Context& context, Precision precision, const Weights& weights,
                               const VitSettings& settings, const PixelTable& pixels)
    : type_(input_type(context, without_int8(precision))),
      settings_(settings),
      embedding_(vit_embedding(settings, weights)),
      table_(pixels) {
  const Precision stored = without_int8(precision);
  const std::size_t levels = settings.stem.size();
  if (levels == 0) {
    patches_ = Linear(context, stored, embedding_.patches.data, nullptr, settings.width, settings.patch_inner());
  }
  for (std::size_t i = 0; i < levels; ++i) {
    const std::string key = "visual.stem." + std::to_string(i);
    const bool last = i + 1 == levels;
    const std::int64_t kernel = settings.stem[i], channels = i ? stem_.back().columns() : 3;
    auto linear = convolution(context, stored, weights, key + ".conv", last ? "" : key + ".bn");
    if (linear.inner() != kernel * kernel * channels || (last && linear.columns() != settings.width)) {
      throw Error(TORCHCLIP_E_MODEL_CORRUPT, key + " has another shape than the model's settings say");
    }
    if (last) {
      patches_ = std::move(linear);
    } else {
      stem_.push_back(std::move(linear));
    }
  }
  embedding_.patches = {};
}

std::size_t PatchEmbedding::bytes() const {
  std::size_t n = patches_.bytes() + embedding_.positions.size() * 4;
  for (const auto& s : stem_) n += s.bytes();
  return n;
}

template <typename T>
void PatchEmbedding::fill_patches(const std::uint8_t* from, std::int64_t patch, bool channels_last,
                                  const T (&table)[3][256], const Matrix& to) const {
  // The distances in a row of `to` between neighbouring lines, columns and channels of a patch.
  const std::int64_t line_stride = channels_last ? 3 * patch : patch;
  const std::int64_t column_stride = channels_last ? 3 : 1;
  const std::int64_t channel_stride = channels_last ? 1 : patch * patch;
  for (std::int64_t i = 0; i < to.rows; ++i) {
    T* row = to.row<T>(i);
    for (int c = 0; c < 3; ++c) {
      for (std::int64_t y = 0; y < patch; ++y) {
        const std::uint8_t* pixel = from + (y * settings_.size + i * patch) * 3 + c;
        T* line = row + c * channel_stride + y * line_stride;
        for (std::int64_t x = 0; x < patch; ++x) line[x * column_stride] = table[c][pixel[3 * x]];
      }
    }
    for (std::int64_t k = 3 * patch * patch; k < to.stride; ++k) row[k] = 0;
  }
}

void PatchEmbedding::pixel_patches(const std::uint8_t* from, std::int64_t patch, bool channels_last,
                                   const Matrix& to) const {
  if (type_ == DType::f32) {
    fill_patches(from, patch, channels_last, table_.value, to);
  } else {
    fill_patches(from, patch, channels_last, table_.bf16, to);
  }
}

PatchEmbedding::Features PatchEmbedding::run_stem(const Context& context, Arena& arena, const std::uint8_t* pixels,
                                                  std::int64_t images) const {
  Features features{{}, settings_.size};
  for (std::size_t i = 0; i < stem_.size(); ++i) {
    const std::int64_t kernel = settings_.stem[i], side = features.side / kernel;
    const Matrix next = arena.dense(images * side * side, stem_[i].columns(), type_);
    const Arena::Scope scope(arena);
    const Matrix patches = arena.matrix(next.rows, stem_[i].inner(), type_);
    context.pool.parallel_for(images * side, [&](std::int64_t task) {
      const std::int64_t first = (task / side * features.side + task % side * kernel) * features.side;
      const Matrix line = patches.row_slice(task * side, side);
      if (i == 0) {
        pixel_patches(pixels + first * 3, kernel, true, line);
      } else {
        feature_patches(features.pixels, features.side, first, kernel, line);
      }
    });
    stem_[i].multiply(context, patches, next, {.activation = Activation::gelu});
    features = {next, side};
  }
  return features;
}

void PatchEmbedding::run(const Context& context, Arena& arena, const std::uint8_t* pixels, const Matrix& x) const {
  const Arena::Scope scope(arena);
  const std::int64_t grid = settings_.grid, width = settings_.width, length = settings_.length();
  const std::int64_t class_tokens = length - settings_.patches(), images = x.rows / length;
  const Features features = run_stem(context, arena, pixels, images);
  const std::int64_t side = features.side, kernel = stem_.empty() ? settings_.patch : settings_.stem.back();

  // The patch of a class token is zeros, so that all images are one matrix multiplication, which adds to the positions
  // in x.
  const Matrix patches = arena.matrix(x.rows, patches_.inner(), type_);
  context.pool.parallel_for(images * grid, [&](std::int64_t task) {
    const std::int64_t image = task / grid, y = task % grid;
    const std::int64_t first_pixel = (image * side + y * kernel) * side;
    const std::int64_t first_token = image * length + class_tokens + y * grid;
    const Matrix line = patches.row_slice(first_token, grid);
    if (stem_.empty()) {
      pixel_patches(pixels + first_pixel * 3, kernel, false, line);
    } else {
      feature_patches(features.pixels, side, first_pixel, kernel, line);
    }
    std::copy_n(embedding_.positions.data() + y * grid * width, grid * width, x.row<float>(first_token));
    if (y == 0 && class_tokens > 0) {
      std::memset(patches.row<char>(image * length), 0, static_cast<std::size_t>(patches.stride_bytes()));
      std::copy_n(embedding_.class_row.data(), width, x.row<float>(image * length));
    }
  });
  patches_.multiply(context, patches, x, {.residual = x});
}

}  // namespace torchclip::core
