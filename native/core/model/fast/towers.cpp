#include "model/fast/towers.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/error.h"

namespace torchclip::core {
Linear projection_of(const Context& context, const Tensor& matrix, const float* bias) {
  return Linear(context, Type::f32, turned(matrix).data(), bias, matrix.inner(), matrix.rows());
}

Linear linear_of(const Context& context, Type type, const Weights& weights, const std::string& key) {
  const auto w = need(weights, key + ".weight");
  return Linear(context, type, w.data, weights(key + ".bias").data, w.rows(), w.inner());
}

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
  if (const auto vit = VitSettings::of(config)) {
    return std::make_unique<VitTower>(context, type, weights, *vit, embed_dim, pixels);
  }
  if (config["kind"].text() == "eva") {
    return std::make_unique<EvaTower>(context, type, weights, config, embed_dim, pixels);
  }
  if (config["kind"].text() == "resnet") {
    return std::make_unique<ResnetTower>(context, type, weights, config, embed_dim, pixels);
  }
  return nullptr;
}

PatchEmbedding::PatchEmbedding(const Context& context, Type type, const Weights& weights, const VitSettings& settings,
                               const PixelTable& pixels)
    : type_(without_int8(context, type)),
      settings_(settings),
      embedding_(vit_embedding(settings, weights)),
      table_(pixels) {
  patches_ = Linear(context, type_, embedding_.patches.data, nullptr, settings.width, settings.patch_inner());
  embedding_.patches = {};
}

VitTower::VitTower(const Context& context, Type type, const Weights& weights, const VitSettings& settings,
                   std::int64_t embed_dim, const PixelTable& pixels)
    : type_(type), settings_(settings), embedDim_(embed_dim), embedding_(context, type, weights, settings, pixels) {
  const std::int64_t width = settings_.width;
  if (settings_.preNorm) preNorm_ = Norm(weights, "visual.ln_pre", settings_.eps);
  postNorm_ = Norm(weights, "visual.ln_post", settings_.eps);
  transformer_ = Transformer(context, type, weights, "visual.transformer", settings_, false);
  if (const auto matrix = weights("visual.proj"); matrix.data) {
    projection_ = projection_of(context, matrix, weights("visual.proj_bias").data);
  }
  if (settings_.pool == VitSettings::Pool::map) {
    const std::string key = "visual.attn_pool";
    map_.query = map_query(settings_, weights);
    const auto w = need(weights, key + ".in_proj_weight"), b = need(weights, key + ".in_proj_bias");
    map_.keyValue = Linear(context, type, w.data + width * width, b.data + width, 2 * width, width);
    map_.out = linear_of(context, Type::f32, weights, key + ".out_proj");
    map_.norm = Norm(weights, key + ".norm", settings_.eps);
    map_.up = linear_of(context, Type::f32, weights, key + ".mlp.fc1");
    map_.down = linear_of(context, Type::f32, weights, key + ".mlp.fc2");
  }
}

std::size_t VitTower::bytes() const {
  return embedding_.bytes() + projection_.bytes() + transformer_.bytes() + map_.keyValue.bytes() + map_.out.bytes() +
         map_.up.bytes() + map_.down.bytes();
}

void VitTower::encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows,
                      float* out, Cancel cancel) const {
  in_chunks(settings_, rows, [&](std::int64_t begin, std::int64_t count) {
    encode_chunk(context, workspace, pixels + begin * settings_.bytes(), count, out + begin * embedDim_, cancel);
  });
}

void PatchEmbedding::run(const Context& context, Workspace& w, const std::uint8_t* pixels, std::int64_t rows,
                         float* x) const {
  const std::int64_t size = settings_.size, patch = settings_.patch, grid = settings_.grid, width = settings_.width;
  const std::int64_t length = settings_.length(), extra = length - settings_.patches();
  const std::int64_t inner = settings_.patch_inner(), stride = row_stride(type_, inner);
  w.input.grow(static_cast<std::size_t>(rows * length * stride));

  // Each patch a row of the product's input, in the order of the convolution's weights: channel, line, column. The
  // class token's row is zeros, so that the rows of all pictures are one product, which adds to what x holds by then.
  context.team.each(rows * grid, [&](std::int64_t task) {
    const std::int64_t image = task / grid, gy = task % grid, first = image * length + extra + gy * grid;
    const std::uint8_t* from = pixels + image * size * size * 3 + gy * patch * size * 3;
    const auto fill = [&](auto* line, const auto& table) {
      for (std::int64_t gx = 0; gx < grid; ++gx) {
        for (int c = 0; c < 3; ++c) {
          for (std::int64_t y = 0; y < patch; ++y) {
            const std::uint8_t* p = from + (y * size + gx * patch) * 3 + c;
            auto* to = line + c * patch * patch + y * patch;
            for (std::int64_t i = 0; i < patch; ++i) to[i] = table[c][p[3 * i]];
          }
        }
        const std::int64_t padded = stride / static_cast<std::int64_t>(sizeof *line);
        for (std::int64_t i = inner; i < padded; ++i) line[i] = 0;
        line += padded;
      }
    };
    char* line = w.input.as<char>() + first * stride;
    if (type_ == Type::f32) {
      fill(reinterpret_cast<float*>(line), table_.value);
    } else {
      fill(reinterpret_cast<std::uint16_t*>(line), table_.brain);
    }
    std::memcpy(x + first * width, embedding_.positions.data() + gy * grid * width,
                static_cast<std::size_t>(grid * width) * 4);
    if (gy == 0 && extra) {
      std::memset(w.input.as<char>() + image * length * stride, 0, static_cast<std::size_t>(stride));
      std::memcpy(x + image * length * width, embedding_.classRow.data(), static_cast<std::size_t>(width) * 4);
    }
  });
  patches_.multiply(context, {w.input.as<void>(), stride}, rows * length,
                    {x, width, Type::f32, Activation::none, x, width});
}

void VitTower::encode_chunk(const Context& context, Workspace& w, const std::uint8_t* pixels, std::int64_t rows,
                            float* out, Cancel cancel) const {
  const std::int64_t width = settings_.width, patches = settings_.patches(), length = settings_.length();
  const std::int64_t extra = length - patches;
  w.x.grow(static_cast<std::size_t>(rows * length * width) * 4);
  float* x = w.x.as<float>();
  embedding_.run(context, w, pixels, rows, x);
  const auto normalize = [&](const Norm& norm) {  // all tokens, in place
    context.team.each(rows, [&](std::int64_t r) {
      float* at = x + r * length * width;
      context.kernels.layerNorm(at, width, length, width, norm.gamma.data, norm.beta.data, norm.eps, Type::f32, at,
                                width * 4, nullptr, nullptr);
    });
  };
  Sequences sequences;
  std::vector<std::int64_t> first;
  for (std::int64_t r = 0; r <= rows; ++r) sequences.starts.push_back(r * length);
  for (std::int64_t r = 0; r < rows; ++r) {
    first.push_back(r * length);
  }
  if (settings_.preNorm) normalize(preNorm_);
  if (settings_.pool == VitSettings::Pool::token) {
    transformer_.run(context, w, sequences, first.data(), cancel);
    project(context, &postNorm_, projection_, w.few.as<float>(), rows, width, out);
    return;
  }
  transformer_.run(context, w, sequences, nullptr, cancel);
  const bool before = settings_.pool == VitSettings::Pool::map || !settings_.normAfterPool;
  w.few.grow(static_cast<std::size_t>(rows * width) * 4);
  float* pooled = w.few.as<float>();
  if (before) normalize(postNorm_);
  if (settings_.pool == VitSettings::Pool::map) {
    pool_map(context, w, sequences, pooled);
  } else {
    context.team.each(rows, [&](std::int64_t r) {
      float* to = pooled + r * width;
      std::fill_n(to, width, 0.0f);
      for (std::int64_t i = extra; i < length; ++i) {
        const float* from = x + (r * length + i) * width;
        for (std::int64_t d = 0; d < width; ++d) to[d] += from[d];
      }
      for (std::int64_t d = 0; d < width; ++d) to[d] /= static_cast<float>(patches);
    });
  }
  project(context, before ? nullptr : &postNorm_, projection_, pooled, rows, width, out);
}

void VitTower::pool_map(const Context& context, Workspace& w, const Sequences& sequences, float* pooled) const {
  const auto& m = map_;
  const std::int64_t width = settings_.width;
  const std::int64_t tokens = sequences.tokens(), rows = sequences.count();
  const std::int64_t length = sequences.starts[1], mlp = m.up.columns();
  const auto in = convert(context, w.x.as<float>(), width, tokens, width, nullptr, type_, w, w.input);
  w.qkv.grow(static_cast<std::size_t>(tokens * 2 * width) * 4);
  m.keyValue.multiply(context, in, tokens, {w.qkv.as<void>(), 2 * width});
  w.mixed.grow(static_cast<std::size_t>(rows * width) * 4);
  attend_once(context, w, m.query.data(), 0, w.qkv.as<float>(), rows, length, width, settings_.poolHeads,
              w.mixed.as<float>());
  m.out.multiply(context, {w.mixed.as<void>(), width * 4}, rows, {pooled, width});
  const auto normed = convert(context, pooled, width, rows, width, &m.norm, Type::f32, w, w.input);
  w.hidden.grow(static_cast<std::size_t>(rows * mlp) * 4);
  m.up.multiply(context, normed, rows, {w.hidden.as<void>(), mlp, Type::f32, settings_.activation});
  m.down.multiply(context, {w.hidden.as<void>(), mlp * 4}, rows,
                  {pooled, width, Type::f32, Activation::none, pooled, width});
}

std::unique_ptr<TextTower> TextTower::make(const Context& context, Type type, const Weights& weights,
                                           const Json& config, std::int64_t embed_dim) {
  const auto settings = TextSettings::of(config);
  if (!settings) return nullptr;
  auto tower = std::make_unique<TextTower>();
  auto& t = *tower;
  t.settings_ = *settings;
  t.embedDim_ = embed_dim;
  t.tokens_ = need(weights, "text.token_embedding.weight");
  t.positions_ = need(weights, "text.positional_embedding");
  t.norm_ = Norm(weights, "text.ln_final", settings->eps);
  t.transformer_ = Transformer(context, type, weights, "text.transformer", *settings, settings->causal);
  if (const auto matrix = weights("text.text_projection"); matrix.data) {
    t.projection_ = projection_of(context, matrix, weights("text.text_projection_bias").data);
  }
  return tower;
}

std::size_t TextTower::bytes() const {
  return transformer_.bytes() + projection_.bytes() + static_cast<std::size_t>(tokens_.rows() * tokens_.inner()) * 4;
}

void TextTower::encode(const Context& context, Workspace& workspace, const std::int32_t* ids, std::int64_t rows,
                       std::int64_t length, float* out, Cancel cancel) const {
  std::vector<std::int64_t> pooled(static_cast<std::size_t>(rows));
  for (std::int64_t r = 0; r < rows; ++r) pooled[r] = settings_.pooled_position(ids + r * length, length);
  for (std::int64_t begin = 0; begin < rows;) {
    std::int64_t end = begin, tokens = 0;
    while (end < rows && (end == begin || tokens < kChunkTokens)) {
      tokens += settings_.causal ? pooled[end] + 1 : length;
      ++end;
    }
    encode_chunk(context, workspace, ids + begin * length, pooled.data() + begin, end - begin, length,
                 out + begin * embedDim_, cancel);
    begin = end;
  }
}

void TextTower::encode_chunk(const Context& context, Workspace& w, const std::int32_t* ids, const std::int64_t* pooled,
                             std::int64_t rows, std::int64_t length, float* out, Cancel cancel) const {
  const std::int64_t width = settings_.width;
  Sequences sequences;
  sequences.starts.push_back(0);
  std::vector<std::int64_t> last;
  for (std::int64_t r = 0; r < rows; ++r) {
    last.push_back(sequences.starts.back() + pooled[r]);
    sequences.starts.push_back(sequences.starts.back() + (settings_.causal ? pooled[r] + 1 : length));
  }
  w.x.grow(static_cast<std::size_t>(sequences.tokens() * width) * 4);
  context.team.each(rows, [&](std::int64_t r) {
    float* to = w.x.as<float>() + sequences.starts[r] * width;
    const std::int64_t count = sequences.starts[r + 1] - sequences.starts[r];
    for (std::int64_t i = 0; i < count; ++i, to += width) {
      const float* token = tokens_.data + ids[r * length + i] * width;
      const float* position = positions_.data + i * width;
      for (std::int64_t d = 0; d < width; ++d) to[d] = token[d] + position[d];
    }
  });
  transformer_.run(context, w, sequences, last.data(), cancel);
  project(context, &norm_, projection_, w.few.as<float>(), rows, width, out);
}

}  // namespace torchclip::core
