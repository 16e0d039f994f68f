#include "model/cpu/resnet_tower.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "model/cpu/chunking.h"
#include "model/cpu/folded_convolution.h"
#include "model/cpu/layer_norm.h"
#include "model/cpu/pixel_taps.h"
#include "model/cpu/projection.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kChunkImages = 8;
constexpr Window kStem{3, 2, 1};
constexpr std::int64_t kTaps = 9, kHeadWidth = 64;
// Neighbourhoods of pixels are gathered by each task into its own core's cache where this many rows fit there, else
// for all pixels before the product.
constexpr std::int64_t kGatherRows = 112, kGatherBytes = 512 << 10;

}  // namespace

ResnetTower::Convolution::Convolution(const Context& context, Precision precision, const Weights& weights,
                                      const std::string& conv, const std::string& norm) {
  const auto f = folded(weights, conv, norm);
  if (f.taps != kTaps) throw Error(TORCHCLIP_E_MODEL_CORRUPT, conv + " is no convolution of 3 x 3");
  if (input_type(context, precision) == DType::f32) {
    fast = WinogradConvolution(context, precision, f.weights.data(), f.bias.data(), f.columns, f.channels);
  } else {
    plain = Linear(context, precision, f.weights.data(), f.bias.data(), f.columns, kTaps * f.channels);
  }
}

namespace {

// Rows of a 3 x 3 convolution's input, with zeros around the image. in: [images, side, side, channels].
void gather(const char* in, std::int64_t side, std::int64_t pixel_bytes, std::int64_t begin, std::int64_t end,
            char* to) {
  for (std::int64_t r = begin; r < end; ++r) {
    const std::int64_t x = r % side, y = r / side % side, image = r / (side * side);
    for (std::int64_t dy = -1; dy <= 1; ++dy) {
      for (std::int64_t dx = -1; dx <= 1; ++dx, to += pixel_bytes) {
        if (y + dy < 0 || y + dy >= side || x + dx < 0 || x + dx >= side) {
          std::memset(to, 0, static_cast<std::size_t>(pixel_bytes));
        } else {
          std::memcpy(to, in + ((image * side + y + dy) * side + x + dx) * pixel_bytes,
                      static_cast<std::size_t>(pixel_bytes));
        }
      }
    }
  }
}

void convolve_plainly(const Context& context, Arena& arena, const Linear& conv, const ConstMatrix& in,
                      std::int64_t side, const Matrix& out) {
  const Arena::Scope scope(arena);
  const std::int64_t pixel = in.stride_bytes(), inner = conv.inner(), rows = in.rows;
  const bool in_cache = inner * size_of(in.type) * kGatherRows <= kGatherBytes;
  const Matrix taps = in_cache ? Matrix{} : arena.dense(rows, inner, in.type);
  context.pool.parallel_for((rows + kGatherRows - 1) / kGatherRows, [&](std::int64_t task) {
    const std::int64_t begin = task * kGatherRows, end = std::min(rows, begin + kGatherRows);
    if (!in_cache) return gather(in.row<char>(0), side, pixel, begin, end, taps.row<char>(begin));
    alignas(64) static thread_local char task_taps[kGatherBytes];
    gather(in.row<char>(0), side, pixel, begin, end, task_taps);
    conv.multiply_here(ConstMatrix::dense(task_taps, end - begin, inner, in.type), out.row_slice(begin, end - begin),
                       {.activation = Activation::relu});
  });
  if (!in_cache) conv.multiply(context, taps, out, {.activation = Activation::relu});
}

// Writes the means of 2 x 2 pixels. in: f32 [images * side * side, channels], without gaps.
void halve(const Context& context, const ConstMatrix& in, std::int64_t side, const Matrix& out) {
  const std::int64_t half = side / 2, images = in.rows / (side * side), channels = in.columns;
  context.pool.parallel_for(images * half, [&](std::int64_t task) {
    const std::int64_t image = task / half, y = task % half;
    const float* top = in.row<float>((image * side + 2 * y) * side);
    const float* bottom = top + side * channels;
    float* to = out.row<float>(task * half);
    for (std::int64_t x = 0; x < half; ++x, top += 2 * channels, bottom += 2 * channels, to += channels) {
      for (std::int64_t c = 0; c < channels; ++c) {
        to[c] = (top[c] + top[channels + c] + bottom[c] + bottom[channels + c]) * 0.25f;
      }
    }
  });
}

// Returns the means of 2 x 2 pixels as new features in the arena.
Matrix halved(const Context& context, Arena& arena, const ConstMatrix& in, std::int64_t side) {
  const std::int64_t half = side / 2;
  const Matrix out = arena.dense(in.rows / (side * side) * half * half, in.columns);
  halve(context, in, side, out);
  return out;
}

}  // namespace

ResnetTower::ResnetTower(const Context& context, Precision precision, const Weights& weights, const Json& config,
                         const PixelTable& pixels)
    : precision_(without_int8(precision)),
      type_(input_type(context, precision_)),
      size_(static_cast<std::int64_t>(config["imageSize"].number())),
      width_(static_cast<std::int64_t>(config["width"].number())),
      heads_(static_cast<std::int64_t>(config["heads"].number())),
      table_(pixels) {
  stem_ = convolution(context, precision_, weights, "visual.conv1", "visual.bn1");
  stem2_ = Convolution(context, precision_, weights, "visual.conv2", "visual.bn2");
  stem3_ = Convolution(context, precision_, weights, "visual.conv3", "visual.bn3");
  const auto& layers = config["layers"].items();
  for (std::size_t stage = 0; stage < layers.size(); ++stage) {
    for (int i = 0; i < static_cast<int>(layers[stage].number()); ++i) {
      const std::string key = "visual.layer" + std::to_string(stage + 1) + "." + std::to_string(i);
      blocks_.push_back(make_block(context, weights, key, i == 0, i == 0 && stage > 0 ? 2 : 1));
    }
  }
  make_pool(context, weights, "visual.attnpool");
}

ResnetTower::Block ResnetTower::make_block(const Context& context, const Weights& weights, const std::string& key,
                                           bool first, std::int64_t stride) const {
  Block b;
  b.conv1 = convolution(context, precision_, weights, key + ".conv1", key + ".bn1");
  b.conv2 = Convolution(context, precision_, weights, key + ".conv2", key + ".bn2");
  b.conv3 = convolution(context, precision_, weights, key + ".conv3", key + ".bn3");
  if (first) b.skip = convolution(context, precision_, weights, key + ".downsample.0", key + ".downsample.1");
  b.stride = stride;
  return b;
}

void ResnetTower::make_pool(const Context& context, const Weights& weights, const std::string& key) {
  positions_ = copied(need(weights, key + ".positional_embedding"));
  const auto k = need(weights, key + ".k_proj.weight");
  const auto v = need(weights, key + ".v_proj.weight", k.rows(), k.inner());
  const auto v_bias = need(weights, key + ".v_proj.bias", v.rows(), 1);
  attention_ = PooledAttention(context, precision_, k.data, v.data, v_bias.data, k.rows(), k.inner(), heads_);
  const auto q = need(weights, key + ".q_proj.weight");
  const float scale = 1.0f / std::sqrt(static_cast<float>(kHeadWidth));
  query_ = Linear(context, Precision::fp32, q.data, need(weights, key + ".q_proj.bias").data, q.rows(), q.inner(),
                  nullptr, scale);
  const auto c = need(weights, key + ".c_proj.weight");
  projection_ = Linear(context, Precision::fp32, c.data, need(weights, key + ".c_proj.bias").data, c.rows(), c.inner());
}

std::size_t ResnetTower::bytes() const {
  std::size_t n =
      query_.bytes() + attention_.bytes() + projection_.bytes() + stem_.bytes() + stem2_.bytes() + stem3_.bytes();
  for (const auto& b : blocks_) n += b.conv1.bytes() + b.conv2.bytes() + b.conv3.bytes() + b.skip.bytes();
  return n;
}

void ResnetTower::Convolution::run(const Context& context, Arena& arena, const ConstMatrix& in, std::int64_t side,
                                   const Matrix& out) const {
  if (fast) return fast.run(context, arena, in, side, out);
  convolve_plainly(context, arena, plain, in, side, out);
}

void ResnetTower::encode(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output,
                         const Matrix& out, Cancel cancel) const {
  in_image_chunks(pixels, size_, out, kChunkImages, [&](const std::uint8_t* chunk, const Matrix& chunk_out) {
    encode_chunk(context, arena, chunk, output, chunk_out, cancel);
  });
}

void ResnetTower::encode_chunk(const Context& context, Arena& arena, const std::uint8_t* pixels, ImageOutput output,
                               const Matrix& out, Cancel cancel) const {
  const Arena::Scope scope(arena);
  const std::int64_t side = size_ / 4;
  Features x{arena.dense(out.rows * side * side, width_), side};
  run_stem(context, arena, pixels, x.pixels);
  for (const Block& block : blocks_) {
    check_cancel(cancel);
    x = run_block(context, arena, block, x);
  }
  pool(context, arena, x.pixels, output, out);
}

void ResnetTower::run_stem(const Context& context, Arena& arena, const std::uint8_t* pixels, const Matrix& out) const {
  const Arena::Scope scope(arena);
  const std::int64_t side = size_ / 2, rows = out.rows / ((size_ / 4) * (size_ / 4)) * side * side;
  const Matrix second = arena.dense(rows, stem2_.columns(), type_);
  {
    const Arena::Scope first_scope(arena);
    const Matrix taps = arena.matrix(rows, stem_.inner(), type_);
    pixel_taps(context, table_, pixels, size_, kStem, taps);
    const Matrix first = arena.dense(rows, stem_.columns(), type_);
    stem_.multiply(context, taps, first, {.activation = Activation::relu});
    stem2_.run(context, arena, first, side, second);
  }
  const Matrix third = arena.dense(rows, stem3_.columns());
  stem3_.run(context, arena, second, side, third);
  halve(context, third, side, out);
}

Features ResnetTower::run_block(const Context& context, Arena& arena, const Block& block, const Features& x) const {
  const bool halves = block.stride != 1;
  const std::int64_t side = x.side, images = x.images(), next = side / block.stride;
  const std::int64_t planes = block.conv1.columns();
  const Matrix out = block.skip ? arena.dense(images * next * next, block.conv3.columns()) : x.pixels;
  const Arena::Scope scope(arena);

  const ConstMatrix in = as_linear_input(context, arena, x.pixels, type_);
  const Matrix reduced = arena.dense(x.pixels.rows, planes, type_);
  block.conv1.multiply(context, in, reduced, {.activation = Activation::relu});
  const Matrix convolved = arena.dense(x.pixels.rows, planes, halves ? DType::f32 : type_);
  block.conv2.run(context, arena, reduced, side, convolved);
  const ConstMatrix branch =
      halves ? as_linear_input(context, arena, halved(context, arena, convolved, side), type_) : ConstMatrix(convolved);
  if (block.skip) {
    const ConstMatrix skip =
        halves ? as_linear_input(context, arena, halved(context, arena, x.pixels, side), type_) : in;
    block.skip.multiply(context, skip, out);
  }
  block.conv3.multiply(context, branch, out, {.activation = Activation::relu, .residual = out});
  return {out, next};
}

void ResnetTower::pool(const Context& context, Arena& arena, const ConstMatrix& x, ImageOutput output,
                       const Matrix& out) const {
  const Arena::Scope scope(arena);
  const std::int64_t images = out.rows, positions = positions_.rows(), width = positions_.inner();
  // The tokens of an image: the mean of its pixels, and its pixels, each with its position.
  const Matrix tokens = arena.dense(images * positions, width);
  context.pool.parallel_for(images, [&](std::int64_t image) {
    float* mean = tokens.row<float>(image * positions);
    std::fill_n(mean, width, 0.0f);
    for (std::int64_t p = 0; p + 1 < positions; ++p) {
      const float* from = x.row<float>(image * (positions - 1) + p);
      const float* position = positions_.data + (p + 1) * width;
      float* to = tokens.row<float>(image * positions + p + 1);
      for (std::int64_t d = 0; d < width; ++d) {
        mean[d] += from[d];
        to[d] = from[d] + position[d];
      }
    }
    for (std::int64_t d = 0; d < width; ++d) mean[d] = mean[d] / static_cast<float>(positions - 1) + positions_.data[d];
  });
  std::vector<PooledAttention::Span> spans;
  for (std::int64_t i = 0; i < images; ++i) spans.push_back({i * positions, (i + 1) * positions});
  const ConstMatrix means{tokens.data, images, width, positions * width};
  const Matrix queries = arena.dense(images, width, attention_.type());
  query_.multiply(context, means, queries);
  const Matrix attention_out = arena.dense(images, width);
  attention_.run(context, arena, queries, as_linear_input(context, arena, tokens, attention_.type()), spans,
                 attention_out);
  project(context, nullptr, projection_for(output, projection_), attention_out, out);
}

}  // namespace torchclip::core
