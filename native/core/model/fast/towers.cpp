#include "model/fast/towers.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/error.h"

namespace torchclip::core {
namespace {

// Tokens that go through the layers together: enough for the products' full speed, and what the workspace is sized by.
constexpr std::int64_t kChunkTokens = 2048;

std::int64_t whole(const Json& value) { return static_cast<std::int64_t>(value.number()); }

// A matrix that rows are multiplied with from the left, [inner, columns]: float32, for few rows.
Linear projection(const Context& context, const Tensor& matrix, const float* bias) {
  const std::int64_t inner = matrix.rows(), columns = matrix.inner();
  std::vector<float> turned(static_cast<std::size_t>(inner * columns));
  for (std::int64_t i = 0; i < inner; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) turned[j * inner + i] = matrix.data[i * columns + j];
  }
  return Linear(context, Type::f32, turned.data(), bias, columns, inner);
}

Linear linear(const Context& context, Type type, const Weights& weights, const std::string& key) {
  const auto w = need(weights, key + ".weight");
  return Linear(context, type, w.data, weights(key + ".bias").data, w.rows(), w.inner());
}

bool plain_widths(const Json& config) { return whole(config["width"]) % 4 == 0 && whole(config["mlpWidth"]) % 4 == 0; }

// Layer norm (if any) and projection (if any) of a few pooled rows, in place of `rows`, to `out`.
void project(const Context& context, const Norm* norm, const Linear& projection, float* rows, std::int64_t count,
             std::int64_t width, float* out) {
  if (norm) {
    context.kernels.layerNorm(rows, width, count, width, norm->gamma.data, norm->beta.data, norm->eps, Type::f32, rows,
                              width * 4, nullptr, nullptr);
  }
  if (projection) {
    projection.multiply(context, {rows, width * 4}, count, {out, projection.columns()});
  } else {
    std::memcpy(out, rows, static_cast<std::size_t>(count * width) * 4);
  }
}

}  // namespace

PixelTable::PixelTable(const double* mean, const double* std) {
  for (int c = 0; c < 3; ++c) {
    for (int v = 0; v < 256; ++v) {
      value[c][v] = (static_cast<float>(v) / 255.0f - static_cast<float>(mean[c])) / static_cast<float>(std[c]);
      brain[c][v] = to_bf16(value[c][v]);
    }
  }
}

std::unique_ptr<ImageTower> ImageTower::make(const Context& context, Type type, const Weights& weights,
                                             const Json& config, std::int64_t embed_dim, const PixelTable& pixels) {
  if (VitTower::knows(config)) return std::make_unique<VitTower>(context, type, weights, config, embed_dim, pixels);
  if (config["kind"].text() == "resnet") {
    return std::make_unique<ResnetTower>(context, type, weights, config, embed_dim, pixels);
  }
  return nullptr;
}

bool VitTower::knows(const Json& config) {
  const auto pool = config["pool"].text();
  return config["kind"].text() == "vit" && config["stem"].items().empty() && plain_widths(config) &&
         (pool == "token" || pool == "average" || pool == "map");
}

VitTower::VitTower(const Context& context, Type type, const Weights& weights, const Json& config,
                   std::int64_t embed_dim, const PixelTable& pixels)
    : table_(pixels) {
  const auto pool = config["pool"].text();
  auto& t = *this;
  t.type_ = type;
  t.patchType_ = type != Type::s8 ? type : context.kernels.multiply[1] ? Type::bf16 : Type::f32;
  t.pool_ = pool == "token" ? Pool::token : pool == "average" ? Pool::average : Pool::map;
  t.size_ = whole(config["imageSize"]);
  t.patch_ = whole(config["patchSize"]);
  t.grid_ = t.size_ / t.patch_;
  t.width_ = whole(config["width"]);
  t.embedDim_ = embed_dim;
  t.classToken_ = config["classToken"].boolean();
  t.normAfterPool_ = config["normAfterPool"].boolean();
  const auto eps = static_cast<float>(config["eps"].number(1e-5));
  const std::int64_t width = t.width_, patches = t.grid_ * t.grid_;
  const auto conv = need(weights, "visual.conv1.weight");
  const auto positions = need(weights, "visual.positional_embedding");
  const std::int64_t own = positions.rows() - patches;  // 1: the class token has a position of its own
  if (own < 0 || own > (t.classToken_ ? 1 : 0) || conv.rows() != width || conv.inner() != 3 * t.patch_ * t.patch_ ||
      positions.inner() != width) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, "the patch embedding has another shape than the model's settings say");
  }
  t.patches_ = Linear(context, t.patchType_, conv.data, nullptr, width, conv.inner());
  const auto bias = weights("visual.conv1.bias");
  t.positions_.resize(static_cast<std::size_t>(patches * width));
  for (std::int64_t i = 0; i < patches * width; ++i) {
    t.positions_[i] = positions.data[own * width + i] + (bias.data ? bias.data[i % width] : 0.0f);
  }
  if (t.classToken_) {
    const auto token = need(weights, "visual.class_embedding");
    t.classRow_.assign(token.data, token.data + width);
    for (std::int64_t i = 0; own && i < width; ++i) t.classRow_[i] += positions.data[i];
  }
  t.hasPreNorm_ = config["preNorm"].boolean();
  if (t.hasPreNorm_) t.preNorm_ = Norm(weights, "visual.ln_pre", eps);
  t.postNorm_ = Norm(weights, "visual.ln_post", eps);
  t.transformer_ = Transformer(context, type, weights, "visual.transformer", config, false);
  if (const auto matrix = weights("visual.proj"); matrix.data) {
    t.projection_ = projection(context, matrix, weights("visual.proj_bias").data);
  }
  if (t.pool_ == Pool::map) {
    const std::string key = "visual.attn_pool";
    auto& m = t.map_;
    m.heads = whole(config["poolHeads"]);
    const auto w = need(weights, key + ".in_proj_weight"), b = need(weights, key + ".in_proj_bias");
    const auto latent = need(weights, key + ".latent");
    const float scale = 1.0f / std::sqrt(static_cast<float>(width) / static_cast<float>(m.heads));
    m.query.resize(static_cast<std::size_t>(width));
    const Linear query(context, Type::f32, w.data, b.data, width, width, nullptr, scale);
    query.multiply(context, {latent.data, width * 4}, 1, {m.query.data(), width});
    m.keyValue = Linear(context, type, w.data + width * width, b.data + width, 2 * width, width);
    m.out = linear(context, Type::f32, weights, key + ".out_proj");
    m.norm = Norm(weights, key + ".norm", eps);
    m.up = linear(context, Type::f32, weights, key + ".mlp.fc1");
    m.down = linear(context, Type::f32, weights, key + ".mlp.fc2");
    m.activation = activation_named(config["activation"].text());
  }
}

std::size_t VitTower::bytes() const {
  return patches_.bytes() + projection_.bytes() + positions_.size() * 4 + transformer_.bytes() + map_.keyValue.bytes() +
         map_.out.bytes() + map_.up.bytes() + map_.down.bytes();
}

void VitTower::encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows,
                      float* out, Cancel cancel) const {
  const std::int64_t chunk = std::max<std::int64_t>(1, kChunkTokens / (grid_ * grid_ + 1));
  const std::int64_t chunks = (rows + chunk - 1) / chunk;
  for (std::int64_t i = 0; i < chunks; ++i) {  // of nearly the same size
    const std::int64_t begin = i * rows / chunks, end = (i + 1) * rows / chunks;
    encode_chunk(context, workspace, pixels + begin * size_ * size_ * 3, end - begin, out + begin * embedDim_, cancel);
  }
}

void VitTower::encode_chunk(const Context& context, Workspace& w, const std::uint8_t* pixels, std::int64_t rows,
                            float* out, Cancel cancel) const {
  const std::int64_t patches = grid_ * grid_, extra = classToken_ ? 1 : 0, length = patches + extra;
  const std::int64_t inner = 3 * patch_ * patch_, stride = row_bytes(patchType_, inner);
  w.x.grow(static_cast<std::size_t>(rows * length * width_) * 4);
  w.input.grow(static_cast<std::size_t>(rows * patches * stride));
  float* x = w.x.as<float>();

  // Each patch a row of the product's input, in the order of the convolution's weights: channel, line, column.
  context.team.each(rows * grid_, [&](std::int64_t task) {
    const std::int64_t image = task / grid_, gy = task % grid_;
    const std::uint8_t* from = pixels + image * size_ * size_ * 3 + gy * patch_ * size_ * 3;
    const auto fill = [&](auto* line, const auto& table) {
      for (std::int64_t gx = 0; gx < grid_; ++gx) {
        for (int c = 0; c < 3; ++c) {
          for (std::int64_t y = 0; y < patch_; ++y) {
            const std::uint8_t* p = from + (y * size_ + gx * patch_) * 3 + c;
            auto* to = line + c * patch_ * patch_ + y * patch_;
            for (std::int64_t i = 0; i < patch_; ++i) to[i] = table[c][p[3 * i]];
          }
        }
        const std::int64_t padded = stride / static_cast<std::int64_t>(sizeof *line);
        for (std::int64_t i = inner; i < padded; ++i) line[i] = 0;
        line += padded;
      }
    };
    char* line = w.input.as<char>() + (image * patches + gy * grid_) * stride;
    if (patchType_ == Type::f32) {
      fill(reinterpret_cast<float*>(line), table_.value);
    } else {
      fill(reinterpret_cast<std::uint16_t*>(line), table_.brain);
    }
  });
  patches_.multiply(context, {w.input.as<void>(), stride}, patches,
                    {x + extra * width_, width_, Type::f32, Activation::none, positions_.data(), width_}, rows,
                    patches * stride, length * width_);
  const auto normalize = [&](const Norm& norm) {  // all tokens, in place
    context.team.each(rows, [&](std::int64_t r) {
      float* at = x + r * length * width_;
      context.kernels.layerNorm(at, width_, length, width_, norm.gamma.data, norm.beta.data, norm.eps, Type::f32, at,
                                width_ * 4, nullptr, nullptr);
    });
  };
  Sequences sequences;
  std::vector<std::int64_t> first;
  for (std::int64_t r = 0; r <= rows; ++r) sequences.starts.push_back(r * length);
  for (std::int64_t r = 0; r < rows; ++r) {
    first.push_back(r * length);
    if (classToken_) std::memcpy(x + r * length * width_, classRow_.data(), static_cast<std::size_t>(width_) * 4);
  }
  if (hasPreNorm_) normalize(preNorm_);
  if (pool_ == Pool::token) {
    transformer_.run(context, w, sequences, first.data(), cancel);
    project(context, &postNorm_, projection_, w.few.as<float>(), rows, width_, out);
    return;
  }
  transformer_.run(context, w, sequences, nullptr, cancel);
  const bool before = pool_ == Pool::map || !normAfterPool_;
  w.few.grow(static_cast<std::size_t>(rows * width_) * 4);
  float* pooled = w.few.as<float>();
  if (before) normalize(postNorm_);
  if (pool_ == Pool::map) {
    pool_map(context, w, sequences, pooled);
  } else {
    context.team.each(rows, [&](std::int64_t r) {
      float* to = pooled + r * width_;
      std::fill_n(to, width_, 0.0f);
      for (std::int64_t i = extra; i < length; ++i) {
        const float* from = x + (r * length + i) * width_;
        for (std::int64_t d = 0; d < width_; ++d) to[d] += from[d];
      }
      for (std::int64_t d = 0; d < width_; ++d) to[d] /= static_cast<float>(patches);
    });
  }
  project(context, before ? nullptr : &postNorm_, projection_, pooled, rows, width_, out);
}

void VitTower::pool_map(const Context& context, Workspace& w, const Sequences& sequences, float* pooled) const {
  const auto& m = map_;
  const std::int64_t tokens = sequences.tokens(), rows = sequences.count();
  const std::int64_t length = sequences.starts[1], mlp = m.up.columns();
  const auto in = convert(context, w.x.as<float>(), width_, tokens, width_, nullptr, type_, w, w.input);
  w.qkv.grow(static_cast<std::size_t>(tokens * 2 * width_) * 4);
  m.keyValue.multiply(context, in, tokens, {w.qkv.as<void>(), 2 * width_});
  w.mixed.grow(static_cast<std::size_t>(rows * width_) * 4);
  attend_once(context, w, m.query.data(), 0, w.qkv.as<float>(), rows, length, width_, m.heads, w.mixed.as<float>());
  m.out.multiply(context, {w.mixed.as<void>(), width_ * 4}, rows, {pooled, width_});
  const auto normed = convert(context, pooled, width_, rows, width_, &m.norm, Type::f32, w, w.input);
  w.hidden.grow(static_cast<std::size_t>(rows * mlp) * 4);
  m.up.multiply(context, normed, rows, {w.hidden.as<void>(), mlp, Type::f32, m.activation});
  m.down.multiply(context, {w.hidden.as<void>(), mlp * 4}, rows,
                  {pooled, width_, Type::f32, Activation::none, pooled, width_});
}

std::unique_ptr<TextTower> TextTower::make(const Context& context, Type type, const Weights& weights,
                                           const Json& config, std::int64_t embed_dim) {
  if (config["kind"].text() != "transformer" || config["appendedToken"].boolean() || !plain_widths(config)) {
    return nullptr;
  }
  const auto pool = config["pool"].text();
  auto tower = std::make_unique<TextTower>();
  auto& t = *tower;
  if (pool == "argmax") {
    t.pool_ = Pool::argmax;
  } else if (pool == "eos") {
    t.pool_ = Pool::eos;
  } else if (pool == "last") {
    t.pool_ = Pool::last;
  } else if (pool == "first") {
    t.pool_ = Pool::first;
  } else {
    return nullptr;
  }
  t.causal_ = config["causal"].boolean();
  t.endId_ = static_cast<std::int32_t>(whole(config["endId"]));
  t.width_ = whole(config["width"]);
  t.embedDim_ = embed_dim;
  t.tokens_ = need(weights, "text.token_embedding.weight");
  t.positions_ = need(weights, "text.positional_embedding");
  t.norm_ = Norm(weights, "text.ln_final", static_cast<float>(config["eps"].number(1e-5)));
  t.transformer_ = Transformer(context, type, weights, "text.transformer", config, t.causal_);
  if (const auto matrix = weights("text.text_projection"); matrix.data) {
    t.projection_ = projection(context, matrix, weights("text.text_projection_bias").data);
  }
  return tower;
}

std::size_t TextTower::bytes() const {
  return transformer_.bytes() + projection_.bytes() + static_cast<std::size_t>(tokens_.rows() * tokens_.inner()) * 4;
}

std::int64_t TextTower::pooled_position(const std::int32_t* ids, std::int64_t length) const {
  switch (pool_) {
    case Pool::argmax:
      return std::max_element(ids, ids + length) - ids;
    case Pool::eos: {
      const auto* found = std::find(ids, ids + length, endId_);
      return found == ids + length ? 0 : found - ids;
    }
    case Pool::last:
      return length - 1;
    default:
      return 0;
  }
}

void TextTower::encode(const Context& context, Workspace& workspace, const std::int32_t* ids, std::int64_t rows,
                       std::int64_t length, float* out, Cancel cancel) const {
  std::vector<std::int64_t> pooled(static_cast<std::size_t>(rows));
  for (std::int64_t r = 0; r < rows; ++r) pooled[r] = pooled_position(ids + r * length, length);
  for (std::int64_t begin = 0; begin < rows;) {
    std::int64_t end = begin, tokens = 0;
    while (end < rows && (end == begin || tokens < kChunkTokens)) {
      tokens += causal_ ? pooled[end] + 1 : length;
      ++end;
    }
    encode_chunk(context, workspace, ids + begin * length, pooled.data() + begin, end - begin, length,
                 out + begin * embedDim_, cancel);
    begin = end;
  }
}

void TextTower::encode_chunk(const Context& context, Workspace& w, const std::int32_t* ids, const std::int64_t* pooled,
                             std::int64_t rows, std::int64_t length, float* out, Cancel cancel) const {
  Sequences sequences;
  sequences.starts.push_back(0);
  std::vector<std::int64_t> last;
  for (std::int64_t r = 0; r < rows; ++r) {
    last.push_back(sequences.starts.back() + pooled[r]);
    sequences.starts.push_back(sequences.starts.back() + (causal_ ? pooled[r] + 1 : length));
  }
  w.x.grow(static_cast<std::size_t>(sequences.tokens() * width_) * 4);
  context.team.each(rows, [&](std::int64_t r) {
    float* to = w.x.as<float>() + sequences.starts[r] * width_;
    const std::int64_t count = sequences.starts[r + 1] - sequences.starts[r];
    for (std::int64_t i = 0; i < count; ++i, to += width_) {
      const float* token = tokens_.data + ids[r * length + i] * width_;
      const float* position = positions_.data + i * width_;
      for (std::int64_t d = 0; d < width_; ++d) to[d] = token[d] + position[d];
    }
  });
  transformer_.run(context, w, sequences, last.data(), cancel);
  project(context, &norm_, projection_, w.few.as<float>(), rows, width_, out);
}

}  // namespace torchclip::core
