#include "model/cpu/patch_embedding.h"

#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"
#include "model/cpu/folded_convolution.h"

namespace torchclip::core {
namespace {

// One line of `count` patches of kernel x kernel pixels as rows of a product's input (line, column, channel). in:
// [image, side, side, pixel] bytes.
void feature_patches(const char* in, std::int64_t image, std::int64_t side, std::int64_t y, std::int64_t kernel,
                     std::int64_t pixel, std::int64_t count, char* to, std::int64_t stride) {
  for (std::int64_t gx = 0; gx < count; ++gx, to += stride) {
    for (std::int64_t dy = 0; dy < kernel; ++dy) {
      const char* from = in + ((image * side + y * kernel + dy) * side + gx * kernel) * pixel;
      std::memcpy(to + dy * kernel * pixel, from, static_cast<std::size_t>(kernel * pixel));
    }
    std::memset(to + kernel * kernel * pixel, 0, static_cast<std::size_t>(stride - kernel * kernel * pixel));
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
    auto product = convolution(context, stored, weights, key + ".conv", last ? "" : key + ".bn");
    if (product.inner() != kernel * kernel * channels || (last && product.columns() != settings.width)) {
      throw Error(TORCHCLIP_E_MODEL_CORRUPT, key + " has another shape than the model's settings say");
    }
    if (last) {
      patches_ = std::move(product);
    } else {
      stem_.push_back(std::move(product));
    }
  }
  embedding_.patches = {};
}

std::size_t PatchEmbedding::bytes() const {
  std::size_t n = patches_.bytes() + embedding_.positions.size() * 4;
  for (const auto& s : stem_) n += s.bytes();
  return n;
}

void PatchEmbedding::run(const Context& context, Workspace& w, const std::uint8_t* pixels, std::int64_t rows,
                         float* x) const {
  const std::int64_t size = settings_.size, grid = settings_.grid, width = settings_.width;
  const std::int64_t length = settings_.length(), extra = length - settings_.patches();

  // A line of patches of an image as rows of a product's input, in the order of a convolution's weights (channel,
  // line, column), or of `convolution` (line, column, channel).
  const auto pixel_patches = [&](const std::uint8_t* from, std::int64_t patch, std::int64_t count, bool channels_last,
                                 char* to, std::int64_t stride) {
    const std::int64_t inner = 3 * patch * patch, down = channels_last ? 3 * patch : patch;
    const std::int64_t right = channels_last ? 3 : 1, across = channels_last ? 1 : patch * patch;
    const auto fill = [&](auto* line, const auto& table) {
      const std::int64_t padded = stride / static_cast<std::int64_t>(sizeof *line);
      for (std::int64_t gx = 0; gx < count; ++gx, line += padded) {
        for (int c = 0; c < 3; ++c) {
          for (std::int64_t y = 0; y < patch; ++y) {
            const std::uint8_t* p = from + (y * size + gx * patch) * 3 + c;
            auto* at = line + c * across + y * down;
            for (std::int64_t i = 0; i < patch; ++i) at[i * right] = table[c][p[3 * i]];
          }
        }
        for (std::int64_t i = inner; i < padded; ++i) line[i] = 0;
      }
    };
    if (type_ == DType::f32) {
      fill(reinterpret_cast<float*>(to), table_.value);
    } else {
      fill(reinterpret_cast<std::uint16_t*>(to), table_.bf16);
    }
  };

  // The stem but its last product: side by side in w.hidden, [rows, side, side, channels] of type_.
  std::int64_t side = size, pixel = 3;
  for (std::size_t i = 0; i < stem_.size(); ++i) {
    const std::int64_t kernel = settings_.stem[i], next = side / kernel, stride = row_stride(type_, stem_[i].inner());
    w.input.grow(static_cast<std::size_t>(rows * next * next * stride));
    context.pool.parallel_for(rows * next, [&](std::int64_t task) {
      const std::int64_t image = task / next, y = task % next;
      char* to = w.input.as<char>() + task * next * stride;
      if (i == 0) {
        pixel_patches(pixels + (image * size + y * kernel) * size * 3, kernel, next, true, to, stride);
      } else {
        feature_patches(w.hidden.as<char>(), image, side, y, kernel, pixel, next, to, stride);
      }
    });
    pixel = stem_[i].columns() * size_of(type_);
    w.hidden.grow(static_cast<std::size_t>(rows * next * next * pixel));
    stem_[i].multiply(context, {w.input.as<void>(), stride}, rows * next * next,
                      {w.hidden.as<void>(), stem_[i].columns(), type_, Activation::gelu});
    side = next;
  }

  // The patches. The class token's row is zeros, so that the rows of all images are one product, which adds to what x
  // holds by then.
  const std::int64_t stride = row_stride(type_, patches_.inner());
  w.input.grow(static_cast<std::size_t>(rows * length * stride));
  context.pool.parallel_for(rows * grid, [&](std::int64_t task) {
    const std::int64_t image = task / grid, gy = task % grid, first = image * length + extra + gy * grid;
    char* to = w.input.as<char>() + first * stride;
    if (stem_.empty()) {
      const std::int64_t patch = settings_.patch;
      pixel_patches(pixels + (image * size + gy * patch) * size * 3, patch, grid, false, to, stride);
    } else {
      feature_patches(w.hidden.as<char>(), image, side, gy, settings_.stem.back(), pixel, grid, to, stride);
    }
    std::memcpy(x + first * width, embedding_.positions.data() + gy * grid * width,
                static_cast<std::size_t>(grid * width) * 4);
    if (gy == 0 && extra) {
      std::memset(w.input.as<char>() + image * length * stride, 0, static_cast<std::size_t>(stride));
      std::memcpy(x + image * length * width, embedding_.class_row.data(), static_cast<std::size_t>(width) * 4);
    }
  });
  patches_.multiply(context, {w.input.as<void>(), stride}, rows * length,
                    {x, width, DType::f32, Activation::none, x, width});
}

}  // namespace torchclip::core
