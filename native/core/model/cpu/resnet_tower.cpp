#include "model/cpu/resnet_tower.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "model/cpu/folded_convolution.h"
#include "model/cpu/projection.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kChunkImages = 8;
constexpr std::int64_t kExpansion = 4, kTaps = 9, kHeadWidth = 64;
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

void convolve_plainly(const Context& context, const Linear& conv, Buffer& whole, const void* in, std::int64_t images,
                      std::int64_t side, const Linear::Output& out) {
  const std::int64_t channels = conv.inner() / kTaps;
  const std::int64_t pixel = channels * size_of(conv.type()), stride = pixel * kTaps, rows = images * side * side;
  const auto* from = static_cast<const char*>(in);
  const bool own = stride * kGatherRows <= kGatherBytes;
  if (!own) whole.grow(static_cast<std::size_t>(rows * stride));
  context.pool.parallel_for((rows + kGatherRows - 1) / kGatherRows, [&](std::int64_t task) {
    const std::int64_t begin = task * kGatherRows, end = std::min(rows, begin + kGatherRows);
    if (!own) return gather(from, side, pixel, begin, end, whole.as<char>() + begin * stride);
    alignas(64) static thread_local char mine[kGatherBytes];
    gather(from, side, pixel, begin, end, mine);
    Linear::Output to = out;
    to.data = static_cast<char*>(out.data) + begin * out.stride * size_of(out.type);
    conv.multiply_here({mine, stride}, end - begin, to);
  });
  if (!own) conv.multiply(context, {whole.as<void>(), stride}, rows, out);
}

// Mean of 2 x 2 pixels: [images, side, side, channels] to half the side.
void halve(const Context& context, const float* in, std::int64_t images, std::int64_t side, std::int64_t channels,
           float* out) {
  const std::int64_t half = side / 2;
  context.pool.parallel_for(images * half, [&](std::int64_t task) {
    const std::int64_t image = task / half, y = task % half;
    const float* top = in + (image * side + 2 * y) * side * channels;
    const float* bottom = top + side * channels;
    float* to = out + task * half * channels;
    for (std::int64_t x = 0; x < half; ++x, top += 2 * channels, bottom += 2 * channels, to += channels) {
      for (std::int64_t c = 0; c < channels; ++c) {
        to[c] = (top[c] + top[channels + c] + bottom[c] + bottom[channels + c]) * 0.25f;
      }
    }
  });
}

}  // namespace

ResnetTower::ResnetTower(const Context& context, Precision precision, const Weights& weights, const Json& config,
                         std::int64_t embed_dim, const PixelTable& pixels)
    : precision_(without_int8(precision)),
      type_(input_type(context, precision_)),
      size_(static_cast<std::int64_t>(config["imageSize"].number())),
      width_(static_cast<std::int64_t>(config["width"].number())),
      heads_(static_cast<std::int64_t>(config["heads"].number())),
      embed_dim_(embed_dim),
      table_(pixels) {
  stem_ = convolution(context, precision_, weights, "visual.conv1", "visual.bn1");
  stem2_ = Convolution(context, precision_, weights, "visual.conv2", "visual.bn2");
  stem3_ = Convolution(context, precision_, weights, "visual.conv3", "visual.bn3");
  const auto& layers = config["layers"].items();
  for (std::size_t stage = 0; stage < layers.size(); ++stage) {
    for (int i = 0; i < static_cast<int>(layers[stage].number()); ++i) {
      const std::string key = "visual.layer" + std::to_string(stage + 1) + "." + std::to_string(i);
      Block b;
      b.conv1 = convolution(context, precision_, weights, key + ".conv1", key + ".bn1");
      b.conv2 = Convolution(context, precision_, weights, key + ".conv2", key + ".bn2");
      b.conv3 = convolution(context, precision_, weights, key + ".conv3", key + ".bn3");
      if (i == 0) b.skip = convolution(context, precision_, weights, key + ".downsample.0", key + ".downsample.1");
      b.stride = i == 0 && stage > 0 ? 2 : 1;
      blocks_.push_back(std::move(b));
    }
  }
  const std::string key = "visual.attnpool";
  positions_ = copied(need(weights, key + ".positional_embedding"));
  const auto kw = need(weights, key + ".k_proj.weight"),
             vw = need(weights, key + ".v_proj.weight", kw.rows(), kw.inner());
  attention_ = PooledAttention(context, precision_, kw.data, vw.data,
                               need(weights, key + ".v_proj.bias", vw.rows(), 1).data, kw.rows(), kw.inner(), heads_);
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

void ResnetTower::encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows,
                         float* out, Cancel cancel) const {
  const std::int64_t chunks = (rows + kChunkImages - 1) / kChunkImages;
  for (std::int64_t i = 0; i < chunks; ++i) {
    const std::int64_t begin = i * rows / chunks, end = (i + 1) * rows / chunks;
    encode_chunk(context, workspace, pixels + begin * size_ * size_ * 3, end - begin, out + begin * embed_dim_, cancel);
  }
}

void ResnetTower::convolve(const Context& context, Workspace& w, const Convolution& conv, const void* in,
                           std::int64_t images, std::int64_t side, void* out, DType out_type) const {
  if (conv.fast)
    return conv.fast.run(context, static_cast<const float*>(in), images, side, static_cast<float*>(out), w.qkv);
  convolve_plainly(context, conv.plain, w.qkv, in, images, side,
                   {out, conv.plain.columns(), out_type, Activation::relu});
}

// Images to the features after the stem: workspace.x, float32 [images, size / 4, size / 4, width].
void ResnetTower::stem(const Context& context, Workspace& w, const std::uint8_t* pixels, std::int64_t images) const {
  const std::int64_t side = size_ / 2, rows = images * side * side, inner = stem_.inner();
  const std::int64_t stride = row_bytes(type_, inner), half = stem_.columns();
  w.input.grow(static_cast<std::size_t>(rows * stride));
  context.pool.parallel_for(images * side, [&](std::int64_t task) {
    const std::int64_t image = task / side, y = task % side;
    const std::uint8_t* from = pixels + image * size_ * size_ * 3;
    char* line = w.input.as<char>() + task * side * stride;
    for (std::int64_t x = 0; x < side; ++x, line += stride) {
      float values[32] = {};
      std::int64_t n = 0;
      for (std::int64_t dy = -1; dy <= 1; ++dy) {
        for (std::int64_t dx = -1; dx <= 1; ++dx, n += 3) {
          const std::int64_t sy = 2 * y + dy, sx = 2 * x + dx;
          if (sy < 0 || sy >= size_ || sx < 0 || sx >= size_) continue;
          for (int c = 0; c < 3; ++c) values[n + c] = table_.value[c][from[(sy * size_ + sx) * 3 + c]];
        }
      }
      if (type_ == DType::f32) {
        std::memcpy(line, values, static_cast<std::size_t>(stride));
      } else {
        for (std::int64_t i = 0; i < stride / 2; ++i) reinterpret_cast<std::uint16_t*>(line)[i] = to_bf16(values[i]);
      }
    }
  });
  const std::int64_t bytes = rows * width_ * 4;
  w.mixed.grow(static_cast<std::size_t>(bytes));
  w.hidden.grow(static_cast<std::size_t>(bytes));
  stem_.multiply(context, {w.input.as<void>(), stride}, rows, {w.mixed.as<void>(), half, type_, Activation::relu});
  convolve(context, w, stem2_, w.mixed.as<void>(), images, side, w.hidden.as<void>(), type_);
  convolve(context, w, stem3_, w.hidden.as<void>(), images, side, w.mixed.as<void>(), DType::f32);
  w.x.grow(static_cast<std::size_t>(rows * width_));
  halve(context, w.mixed.as<float>(), images, side, width_, w.x.as<float>());
}

void ResnetTower::encode_chunk(const Context& context, Workspace& w, const std::uint8_t* pixels, std::int64_t images,
                               float* out, Cancel cancel) const {
  stem(context, w, pixels, images);
  std::int64_t side = size_ / 4, channels = width_;
  for (const Block& b : blocks_) {
    check_cancel(cancel);
    const std::int64_t rows = images * side * side, planes = b.conv1.columns(), wide = planes * kExpansion;
    const std::int64_t next = side / b.stride, few = images * next * next;
    // float32 is read as it is, bf16 needs the copy
    const auto typed = [&](const float* x, std::int64_t n, std::int64_t c, Buffer& copy) -> Linear::Input {
      if (type_ == DType::f32) return {x, c * 4};
      return convert(context, x, c, n, c, nullptr, type_, w, copy);
    };
    w.hidden.grow(static_cast<std::size_t>(rows * planes * 4));
    w.mixed.grow(static_cast<std::size_t>(rows * planes * 4));
    const auto in = typed(w.x.as<float>(), rows, channels, w.input);
    b.conv1.multiply(context, in, rows, {w.hidden.as<void>(), planes, type_, Activation::relu});
    const DType kept = b.stride == 1 ? type_ : DType::f32;
    convolve(context, w, b.conv2, w.hidden.as<void>(), images, side, w.mixed.as<void>(), kept);
    Linear::Input y{w.mixed.as<void>(), planes * size_of(type_)};
    if (b.stride != 1) {
      halve(context, w.mixed.as<float>(), images, side, planes, w.hidden.as<float>());
      y = typed(w.hidden.as<float>(), few, planes, w.mixed);
    }
    if (!b.skip) {
      float* x = w.x.as<float>();
      b.conv3.multiply(context, y, rows, {x, wide, DType::f32, Activation::relu, x, wide});
    } else {
      w.few.grow(static_cast<std::size_t>(few * wide) * 4);
      Linear::Input skip = in;
      if (b.stride != 1) {
        w.scratch.grow(static_cast<std::size_t>(few * channels) * 4);
        halve(context, w.x.as<float>(), images, side, channels, w.scratch.as<float>());
        skip = typed(w.scratch.as<float>(), few, channels, w.input);
      }
      float* sum = w.few.as<float>();
      b.skip.multiply(context, skip, few, {sum, wide});
      b.conv3.multiply(context, y, few, {sum, wide, DType::f32, Activation::relu, sum, wide});
      std::swap(w.x, w.few);
    }
    side = next;
    channels = wide;
  }
  pool(context, w, images, out);
}

// The mean of all positions asks, all positions and the mean answer.
void ResnetTower::pool(const Context& context, Workspace& w, std::int64_t images, float* out) const {
  const std::int64_t positions = positions_.rows(), wide = positions_.inner();
  w.hidden.grow(static_cast<std::size_t>(images * positions * wide) * 4);
  float* tokens = w.hidden.as<float>();
  context.pool.parallel_for(images, [&](std::int64_t i) {
    const float* x = w.x.as<float>() + i * (positions - 1) * wide;
    float* mean = tokens + i * positions * wide;
    std::fill_n(mean, wide, 0.0f);
    for (std::int64_t p = 0; p + 1 < positions; ++p) {
      for (std::int64_t d = 0; d < wide; ++d) {
        mean[d] += x[p * wide + d];
        mean[(p + 1) * wide + d] = x[p * wide + d] + positions_.data[(p + 1) * wide + d];
      }
    }
    for (std::int64_t d = 0; d < wide; ++d) mean[d] = mean[d] / static_cast<float>(positions - 1) + positions_.data[d];
  });
  const std::int64_t rows = images * positions;
  const DType type = attention_.type();
  const auto in = type == DType::f32 ? Linear::Input{tokens, wide * 4}
                                     : convert(context, tokens, wide, rows, wide, nullptr, type, w, w.input);
  std::vector<PooledAttention::Span> spans;
  for (std::int64_t i = 0; i < images; ++i) spans.push_back({i * positions, (i + 1) * positions});
  w.few.grow(static_cast<std::size_t>(images * wide) * 4);
  query_.multiply(context, {tokens, positions * wide * 4}, images, {w.few.as<void>(), wide, type});
  w.mixed.grow(static_cast<std::size_t>(images * wide) * 4);
  attention_.run(context, w, {w.few.as<void>(), wide * size_of(type)}, in, spans, {w.mixed.as<void>(), wide});
  projection_.multiply(context, {w.mixed.as<void>(), wide * 4}, images, {out, embed_dim_});
}

}  // namespace torchclip::core
