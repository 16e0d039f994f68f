#include "model/cpu/towers.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.h"

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

// What a text costs at least, so that many equal ones are not one chunk.
constexpr std::int64_t kLeastTokens = 4;

// How many tokens two rows begin with that are the same, `most` at most.
std::int64_t common_tokens(const std::int32_t* a, const std::int32_t* b, std::int64_t most) {
  return std::mismatch(a, a + most, b).first - a;
}

}  // namespace

Linear projection_of(const Context& context, const Tensor& matrix, const float* bias) {
  return Linear(context, Precision::fp32, turned(matrix).data(), bias, matrix.inner(), matrix.rows());
}

Linear linear_of(const Context& context, Precision precision, const Weights& weights, const std::string& key) {
  const auto w = need(weights, key + ".weight");
  return Linear(context, precision, w.data, weights(key + ".bias").data, w.rows(), w.inner());
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

std::unique_ptr<ImageTower> ImageTower::make(const Context& context, Precision precision, const Weights& weights,
                                             const Json& config, std::int64_t embed_dim, const PixelTable& pixels) {
  if (const auto vit = VitSettings::of(config)) {
    return std::make_unique<VitTower>(context, precision, weights, *vit, embed_dim, pixels);
  }
  if (config["kind"].text() == "eva") {
    return std::make_unique<EvaTower>(context, precision, weights, config, embed_dim, pixels);
  }
  if (config["kind"].text() == "resnet") {
    return std::make_unique<ResnetTower>(context, precision, weights, config, embed_dim, pixels);
  }
  return nullptr;
}

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

VitTower::VitTower(const Context& context, Precision precision, const Weights& weights, const VitSettings& settings,
                   std::int64_t embed_dim, const PixelTable& pixels)
    : precision_(precision),
      settings_(settings),
      embedDim_(embed_dim),
      embedding_(context, precision, weights, settings, pixels) {
  const std::int64_t width = settings_.width;
  if (settings_.preNorm) preNorm_ = Norm(weights, "visual.ln_pre", settings_.eps);
  postNorm_ = Norm(weights, "visual.ln_post", settings_.eps);
  transformer_ = Transformer(context, precision, weights, "visual.transformer.resblocks.", settings_, false,
                             settings_.pool == VitSettings::Pool::token);
  if (const auto matrix = weights("visual.proj"); matrix.data) {
    projection_ = projection_of(context, matrix, weights("visual.proj_bias").data);
  }
  const std::string key = "visual.attn_pool";
  if (settings_.pool == VitSettings::Pool::map) {
    const auto query = map_query(settings_, weights);
    const auto w = need(weights, key + ".in_proj_weight"), b = need(weights, key + ".in_proj_bias");
    const std::int64_t matrix = width * width;
    pool_.attention = PooledAttention(context, precision, w.data + matrix, w.data + 2 * matrix, b.data + 2 * width,
                                      width, width, settings_.poolHeads);
    pool_.attention.fix_query(context, query.data());
    pool_.out = linear_of(context, Precision::fp32, weights, key + ".out_proj");
    pool_.norm = Norm(weights, key + ".norm", settings_.eps);
    pool_.up = linear_of(context, Precision::fp32, weights, key + ".mlp.fc1");
    pool_.down = linear_of(context, Precision::fp32, weights, key + ".mlp.fc2");
  } else if (settings_.pool == VitSettings::Pool::queries) {
    const auto query = first_query(settings_, weights, embed_dim);
    pool_.norm = Norm(weights, key + ".ln_k", settings_.eps);
    const auto k = need(weights, key + ".attn.k_proj_weight", embed_dim, width);
    const auto v = need(weights, key + ".attn.v_proj_weight", embed_dim, width);
    const auto bias = need(weights, key + ".attn.in_proj_bias", 3 * embed_dim, 1);
    pool_.attention = PooledAttention(context, precision, k.data, v.data, bias.data + 2 * embed_dim, embed_dim, width,
                                      settings_.poolHeads);
    pool_.attention.fix_query(context, query.data());
    pool_.out = linear_of(context, Precision::fp32, weights, key + ".attn.out_proj");
  }
}

std::size_t VitTower::bytes() const {
  return embedding_.bytes() + projection_.bytes() + transformer_.bytes() + pool_.attention.bytes() + pool_.out.bytes() +
         pool_.up.bytes() + pool_.down.bytes();
}

void VitTower::encode(const Context& context, Workspace& workspace, const std::uint8_t* pixels, std::int64_t rows,
                      float* out, Cancel cancel) const {
  in_chunks(settings_, rows, [&](std::int64_t begin, std::int64_t count) {
    encode_chunk(context, workspace, pixels + begin * settings_.bytes(), count, out + begin * embedDim_, cancel);
  });
}

void PatchEmbedding::run(const Context& context, Workspace& w, const std::uint8_t* pixels, std::int64_t rows,
                         float* x) const {
  const std::int64_t size = settings_.size, grid = settings_.grid, width = settings_.width;
  const std::int64_t length = settings_.length(), extra = length - settings_.patches();

  // A line of patches of a picture as rows of a product's input, in the order of a convolution's weights (channel,
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
    if (type_ == Type::f32) {
      fill(reinterpret_cast<float*>(to), table_.value);
    } else {
      fill(reinterpret_cast<std::uint16_t*>(to), table_.brain);
    }
  };

  // The stem but its last product: side by side in w.hidden, [rows, side, side, channels] of type_.
  std::int64_t side = size, pixel = 3;
  for (std::size_t i = 0; i < stem_.size(); ++i) {
    const std::int64_t kernel = settings_.stem[i], next = side / kernel, stride = row_stride(type_, stem_[i].inner());
    w.input.grow(static_cast<std::size_t>(rows * next * next * stride));
    context.team.each(rows * next, [&](std::int64_t task) {
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

  // The patches. The class token's row is zeros, so that the rows of all pictures are one product, which adds to what x
  // holds by then.
  const std::int64_t stride = row_stride(type_, patches_.inner());
  w.input.grow(static_cast<std::size_t>(rows * length * stride));
  context.team.each(rows * grid, [&](std::int64_t task) {
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
  Sequences sequences;
  std::vector<std::int64_t> first;
  for (std::int64_t r = 0; r <= rows; ++r) sequences.starts.push_back(r * length);
  for (std::int64_t r = 0; r < rows; ++r) {
    first.push_back(r * length);
  }
  if (settings_.preNorm) normalize(context, preNorm_, x, rows * length, width);
  if (settings_.pool == VitSettings::Pool::token) {
    transformer_.run(context, w, sequences, first.data(), cancel);
    project(context, &postNorm_, projection_, w.few.as<float>(), rows, width, out);
    return;
  }
  transformer_.run(context, w, sequences, nullptr, cancel);
  const bool attends = settings_.pool == VitSettings::Pool::map || settings_.pool == VitSettings::Pool::queries;
  const bool before = settings_.pool == VitSettings::Pool::map ||
                      (settings_.pool == VitSettings::Pool::average && !settings_.normAfterPool);
  const std::int64_t wide = attends ? pool_.attention.width() : width;
  w.few.grow(static_cast<std::size_t>(rows * wide) * 4);
  float* pooled = w.few.as<float>();
  if (before) normalize(context, postNorm_, x, rows * length, width);
  if (attends) {
    pool_attention(context, w, sequences, pooled);
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
  project(context, before ? nullptr : &postNorm_, projection_, pooled, rows, wide, out);
}

void VitTower::pool_attention(const Context& context, Workspace& w, const Sequences& sequences, float* pooled) const {
  const auto& p = pool_;
  const std::int64_t width = settings_.width, wide = p.attention.width(), rows = sequences.count();
  const auto tokens = convert(context, w.x.as<float>(), width, sequences.tokens(), width, p.up ? nullptr : &p.norm,
                              p.attention.type(), w, w.input);
  std::vector<PooledAttention::Span> spans;
  for (std::int64_t s = 0; s < rows; ++s) spans.push_back({sequences.starts[s], sequences.starts[s + 1]});
  w.mixed.grow(static_cast<std::size_t>(rows * wide) * 4);
  p.attention.run(context, w, {}, tokens, spans, {w.mixed.as<void>(), wide});
  p.out.multiply(context, {w.mixed.as<void>(), wide * 4}, rows, {pooled, wide});
  if (!p.up) return;
  const std::int64_t mlp = p.up.columns();
  const auto normed = convert(context, pooled, wide, rows, wide, &p.norm, Type::f32, w, w.input);
  w.hidden.grow(static_cast<std::size_t>(rows * mlp) * 4);
  p.up.multiply(context, normed, rows, {w.hidden.as<void>(), mlp, Type::f32, settings_.activation});
  p.down.multiply(context, {w.hidden.as<void>(), mlp * 4}, rows,
                  {pooled, wide, Type::f32, Activation::none, pooled, wide});
}

TokenTable::TokenTable(Precision precision, const Tensor& vectors)
    : stored_(precision == Precision::int8 ? Precision::fp16 : precision), inner_(vectors.inner()) {
  const std::int64_t count = vectors.rows() * inner_;
  vectors_ =
      Buffer(static_cast<std::size_t>(count) * (stored_ == Precision::fp32 ? sizeof(float) : sizeof(std::uint16_t)));
  if (stored_ == Precision::fp32) {
    std::copy_n(vectors.data, count, vectors_.as<float>());
  } else {
    std::uint16_t (*const stored_as)(float) = stored_ == Precision::bf16 ? to_bf16 : to_fp16;
    std::transform(vectors.data, vectors.data + count, vectors_.as<std::uint16_t>(), stored_as);
  }
}

void TokenTable::read(const Kernels& kernels, std::int64_t id, float* to) const {
  const std::int64_t first = id * inner_;
  if (stored_ == Precision::fp32) {
    std::copy_n(vectors_.as<float>() + first, inner_, to);
    return;
  }
  const auto widen = stored_ == Precision::bf16 ? kernels.widenBf16 : kernels.widenFp16;
  widen(vectors_.as<std::uint16_t>() + first, inner_, to);
}

std::unique_ptr<TextTower> TextTower::make(const Context& context, Precision precision, const Weights& weights,
                                           const Json& config, std::int64_t embed_dim) {
  if (const auto settings = TextSettings::of(config)) {
    return std::make_unique<ClipTextTower>(context, precision, weights, *settings, embed_dim);
  }
  if (config["kind"].text() == "roberta") return std::make_unique<RobertaTower>(context, precision, weights, config);
  return nullptr;
}

ClipTextTower::ClipTextTower(const Context& context, Precision precision, const Weights& weights,
                             const TextSettings& settings, std::int64_t embed_dim)
    : settings_(settings),
      embedDim_(embed_dim),
      tokens_(precision, need(weights, "text.token_embedding.weight")),
      positions_(copied(need(weights, "text.positional_embedding"))),
      norm_(weights, "text.ln_final", settings.eps),
      transformer_(context, precision, weights, "text.transformer.resblocks.", settings, settings.causal, true) {
  if (tokens_.inner() != settings.width || positions_.inner() != settings.width) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, "the text embeddings have another width than the model's settings say");
  }
  if (settings.appendedToken) appended_ = copied(need(weights, "text.cls_emb", settings.width, 1));
  if (const auto matrix = weights("text.text_projection"); matrix.data) {
    projection_ = projection_of(context, matrix, weights("text.text_projection_bias").data);
  }
}

std::size_t ClipTextTower::bytes() const { return transformer_.bytes() + projection_.bytes() + tokens_.bytes(); }

// With an appended token, a token is seen where the one before it is no padding (as open_clip trained CoCa), and the
// first one always; what nobody sees need not be computed.
void ClipTextTower::needed(const std::int32_t* ids, std::int64_t length, std::vector<std::int32_t>& positions) const {
  positions.clear();
  const std::int64_t end =
      settings_.appendedToken || !settings_.causal ? length : settings_.pooled_position(ids, length) + 1;
  for (std::int64_t i = 0; i < end; ++i) {
    if (!settings_.appendedToken || i == 0 || ids[i - 1] != settings_.padId) {
      positions.push_back(static_cast<std::int32_t>(i));
    }
  }
  if (settings_.appendedToken) positions.push_back(static_cast<std::int32_t>(length));
}

void ClipTextTower::encode(const Context& context, Workspace& workspace, const std::int32_t* ids, std::int64_t rows,
                           std::int64_t length, float* out, Cancel cancel) const {
  if (length + (settings_.appendedToken ? 1 : 0) > positions_.rows()) {
    throw Error(TORCHCLIP_E_ARGUMENT,
                "texts of " + std::to_string(length) + " tokens are longer than the model's positions");
  }
  // Rows that begin alike next to each other.
  std::vector<std::int32_t> order(static_cast<std::size_t>(rows));
  std::iota(order.begin(), order.end(), 0);
  const bool shares = settings_.causal && !settings_.appendedToken;
  if (shares) {
    std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      const std::int32_t *x = ids + a * length, *y = ids + b * length;
      return std::lexicographical_compare(x, x + length, y, y + length);
    });
  }
  std::vector<std::int32_t> positions;
  const auto tokens = [&](std::int64_t i) {
    const std::int32_t* row = ids + order[i] * length;
    needed(row, length, positions);
    const auto all = static_cast<std::int64_t>(positions.size());
    const auto own = shares && i > 0 ? all - common_tokens(row, ids + order[i - 1] * length, all) : all;
    return std::max(own, kLeastTokens);
  };
  in_token_chunks(rows, tokens, [&](std::int64_t begin, std::int64_t count) {
    encode_chunk(context, workspace, ids, {order.begin() + begin, order.begin() + begin + count}, length, out, cancel);
  });
}

void ClipTextTower::encode_chunk(const Context& context, Workspace& w, const std::int32_t* ids,
                                 const std::vector<std::int32_t>& order, std::int64_t length, float* out,
                                 Cancel cancel) const {
  const std::int64_t width = settings_.width, rows = static_cast<std::int64_t>(order.size());
  const bool shares = settings_.causal && !settings_.appendedToken;
  Sequences sequences;
  sequences.starts.push_back(0);
  if (shares) sequences.keyStarts.push_back(0);
  std::vector<std::int64_t> pooled;
  std::vector<std::int32_t> positions, all;  // all: where in its row each token stands
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int32_t* row = ids + order[r] * length;
    needed(row, length, positions);
    const auto count = static_cast<std::int64_t>(positions.size()), start = sequences.starts.back();
    std::int64_t shared = 0;
    if (shares) {
      auto& keys = sequences.keys;
      if (r > 0) {
        // Of the row before, whose keys were its tokens from the first one on.
        const std::int64_t before = sequences.keyStarts[r] - sequences.keyStarts[r - 1];
        shared = common_tokens(row, ids + order[r - 1] * length, std::min(before, count));
        for (std::int64_t i = 0; i < shared; ++i) keys.push_back(keys[sequences.keyStarts[r - 1] + i]);
      }
      for (std::int64_t i = shared; i < count; ++i) keys.push_back(static_cast<std::int32_t>(start + i - shared));
      sequences.keyStarts.push_back(static_cast<std::int64_t>(keys.size()));
      pooled.push_back(keys.back());
    } else {
      pooled.push_back(settings_.appendedToken ? start + count - 1 : start + settings_.pooled_position(row, length));
    }
    all.insert(all.end(), positions.begin() + shared, positions.end());
    sequences.starts.push_back(start + count - shared);
    // The appended token sees itself where the text fills the context.
    if (settings_.appendedToken) sequences.blind.push_back(row[length - 1] == settings_.padId);
  }
  w.x.grow(static_cast<std::size_t>(sequences.tokens() * width) * 4);
  context.team.each(rows, [&](std::int64_t r) {
    for (std::int64_t i = sequences.starts[r]; i < sequences.starts[r + 1]; ++i) {
      const std::int32_t at = all[i];
      const float* position = positions_.data + at * width;
      float* to = w.x.as<float>() + i * width;
      if (at == length) {
        std::copy_n(appended_.data, width, to);
      } else {
        tokens_.read(context.kernels, ids[order[r] * length + at], to);
      }
      for (std::int64_t d = 0; d < width; ++d) to[d] += position[d];
    }
  });
  transformer_.run(context, w, sequences, pooled.data(), cancel);
  w.hidden.grow(static_cast<std::size_t>(rows * embedDim_) * 4);
  float* embeddings = w.hidden.as<float>();
  project(context, &norm_, projection_, w.few.as<float>(), rows, width, embeddings);
  for (std::int64_t r = 0; r < rows; ++r)
    std::copy_n(embeddings + r * embedDim_, embedDim_, out + order[r] * embedDim_);
}

}  // namespace torchclip::core
