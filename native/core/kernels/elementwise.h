// Layer norm, the scan of scores, and dot products, for the instruction set that this file is compiled for.
#pragma once

#include <cstring>

#include "kernels/gemm.h"
#include "kernels/steps.h"

namespace {

using torchclip::core::round_up;

// Computes (x - mean) * inverse * gamma + beta, or x itself if there is no norm.
struct Affine {
  float mean = 0, inverse = 1;
  const float *gamma = nullptr, *beta = nullptr;
  Floats at(const float* x, std::int64_t i) const {
    const Floats v = load(x + i);
    if (!gamma) return v;
    const Floats y = (v - all(mean)) * all(inverse) * load(gamma + i);
    return beta ? y + load(beta + i) : y;
  }
  float one(const float* x, std::int64_t i) const {
    if (!gamma) return x[i];
    const float y = (x[i] - mean) * inverse * gamma[i];
    return beta ? y + beta[i] : y;
  }
};

inline float larger(float a, float b) { return a > b ? a : b; }

// Writes f of the numbers of a row as f32 or bf16. f: at() computes a register, one() a single number.
template <typename F>
void store_row(const F& f, const float* x, std::int64_t width, DType type, void* out) {
  const std::int64_t whole = width / kLanes * kLanes;
  if (type == DType::f32) {
    auto* to = static_cast<float*>(out);
    for (std::int64_t i = 0; i < whole; i += kLanes) store(to + i, f.at(x, i));
    for (std::int64_t i = whole; i < width; ++i) to[i] = f.one(x, i);
  } else {
    auto* to = static_cast<std::uint16_t*>(out);
    for (std::int64_t i = 0; i < whole; i += kLanes) store_bf16(to + i, f.at(x, i));
    for (std::int64_t i = whole; i < width; ++i) {
      std::uint16_t lanes[kLanes];
      store_bf16(lanes, all(f.one(x, i)));
      to[i] = lanes[0];
    }
  }
}

inline void normalize_row(const float* x, std::int64_t width, const float* gamma, const float* beta, float eps,
                          DType type, char* out, float* scale, std::int32_t* sum) {
  const std::int64_t whole = width / kLanes * kLanes;
  Affine f;
  if (gamma) {
    Floats total = zero();
    for (std::int64_t i = 0; i < whole; i += kLanes) total = total + load(x + i);
    float mean = sum_of(total);
    for (std::int64_t i = whole; i < width; ++i) mean += x[i];
    mean /= static_cast<float>(width);
    Floats squares = zero();
    for (std::int64_t i = 0; i < whole; i += kLanes) {
      const Floats d = load(x + i) - all(mean);
      squares = fma(d, d, squares);
    }
    float variance = sum_of(squares);
    for (std::int64_t i = whole; i < width; ++i) variance += (x[i] - mean) * (x[i] - mean);
    f = {mean, 1.0f / square_root(variance / static_cast<float>(width) + eps), gamma, beta};
  }
  if (type == DType::f32) {
    store_row(f, x, width, type, out);
  } else if (type == DType::bf16) {
    store_row(f, x, width, type, out);
    auto* to = reinterpret_cast<std::uint16_t*>(out);
    for (std::int64_t i = width; i < round_up(width, 2); ++i) to[i] = 0;
  } else {
    Floats maxima = zero();
    for (std::int64_t i = 0; i < whole; i += kLanes) maxima = max_of(maxima, magnitude(f.at(x, i)));
    float largest = max_of(maxima);
    for (std::int64_t i = whole; i < width; ++i) {
      const float v = f.one(x, i);
      largest = larger(largest, v < 0 ? -v : v);
    }
    const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
    auto* to = reinterpret_cast<std::int8_t*>(out);
    // The limit changes no number. What is not a number becomes 127, so that sums and products of such a row, which
    // mean nothing, stay in the range of int32.
    Ints total = to_ints(zero());
    for (std::int64_t i = 0; i < whole; i += kLanes) {
      const Ints q = to_ints(min_of(f.at(x, i) * all(inverse), all(127.0f)));
      total = add(total, q);
      store_bytes(to + i, q);
    }
    std::int32_t rest = sum_of(total);
    for (std::int64_t i = whole; i < width; ++i) {
      const float scaled_value = f.one(x, i) * inverse;
      to[i] = static_cast<std::int8_t>(nearest_int(scaled_value < 127.0f ? scaled_value : 127.0f));
      rest += to[i];
    }
    for (std::int64_t i = width; i < round_up(width, 4); ++i) to[i] = 0;
    *scale = largest / 127.0f;
    *sum = rest;
  }
}

[[maybe_unused]] void layer_norm(const float* x, std::int64_t ldx, std::int64_t rows, std::int64_t width,
                                 const float* gamma, const float* beta, float eps, DType type, void* out,
                                 std::int64_t ldo, float* scales, std::int32_t* sums) {
  for (std::int64_t r = 0; r < rows; ++r) {
    normalize_row(x + r * ldx, width, gamma, beta, eps, type, static_cast<char*>(out) + r * ldo,
                  scales ? scales + r : nullptr, sums ? sums + r : nullptr);
  }
}

// Computes gelu(x * gates), or gelu(x) if there are no gates.
struct GatedGelu {
  const float* gates = nullptr;
  Floats at(const float* x, std::int64_t i) const { return gelu(gates ? load(x + i) * load(gates + i) : load(x + i)); }
  float one(const float* x, std::int64_t i) const {
    float lanes[kLanes];
    store(lanes, gelu(all(gates ? x[i] * gates[i] : x[i])));
    return lanes[0];
  }
};

[[maybe_unused]] void gated_gelu(const float* x, std::int64_t ldx, std::int64_t rows, std::int64_t width,
                                 const float* gates, DType type, void* out, std::int64_t ldo) {
  const GatedGelu f{gates};
  for (std::int64_t r = 0; r < rows; ++r) store_row(f, x + r * ldx, width, type, static_cast<char*>(out) + r * ldo);
}

// Widens 16-bit numbers to float32.
template <typename Widen>
void widen_all(const std::uint16_t* from, std::int64_t count, float* to, Widen&& widen) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, widen(from + i));
  if (i == count) return;
  std::uint16_t rest[kLanes] = {};
  float values[kLanes];
  std::memcpy(rest, from + i, static_cast<std::size_t>(count - i) * 2);
  store(values, widen(rest));
  std::memcpy(to + i, values, static_cast<std::size_t>(count - i) * 4);
}

[[maybe_unused]] void widen_all_bf16(const std::uint16_t* from, std::int64_t count, float* to) {
  widen_all(from, count, to, widen_bf16);
}
#if defined(TORCHCLIP_WIDENS_FP16)
void widen_all_fp16(const std::uint16_t* from, std::int64_t count, float* to) {
  widen_all(from, count, to, widen_fp16);
}
#endif

[[maybe_unused]] void scan(const float* scores, std::int64_t rows, const float* limits, void* state,
                           void (*found)(void*, std::int64_t, int, float)) {
  for (std::int64_t r = 0; r < rows; ++r, scores += kPanel) {
    for (int i = 0; i < kWide; ++i) {
      const Floats v = load(scores + i * kLanes), limit = load(limits + i * kLanes);
      for (unsigned hits = at_least(v, limit); hits; hits &= hits - 1) {
        const int lane = __builtin_ctz(hits) + i * kLanes;
        found(state, r, lane, scores[lane]);
      }
    }
  }
}

template <int Rows, int Queries>
void dot_block(const float* base, std::int64_t dim, const float* queries, float* out, std::int64_t ldo) {
  Floats sum[std::size_t{Rows}][std::size_t{Queries}];
  for (int r = 0; r < Rows; ++r) {
    for (int q = 0; q < Queries; ++q) sum[r][q] = zero();
  }
  const std::int64_t whole = dim / kLanes * kLanes;
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    Floats x[std::size_t{Queries}];
#pragma GCC unroll 4
    for (int q = 0; q < Queries; ++q) x[q] = load(queries + q * dim + i);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const Floats b = load(base + r * dim + i);
#pragma GCC unroll 4
      for (int q = 0; q < Queries; ++q) sum[r][q] = fma(b, x[q], sum[r][q]);
    }
  }
  for (int r = 0; r < Rows; ++r) {
    for (int q = 0; q < Queries; ++q) {
      float total = sum_of(sum[r][q]);
      for (std::int64_t i = whole; i < dim; ++i) total += base[r * dim + i] * queries[q * dim + i];
      out[q * ldo + r] = total;
    }
  }
}

template <int Queries>
void dots_of(const float* base, std::int64_t rows, std::int64_t dim, const float* queries, float* out,
             std::int64_t ldo) {
  constexpr int R = kLanes == 16 ? 4 : 2;
  std::int64_t r = 0;
  for (; r + R <= rows; r += R) dot_block<R, Queries>(base + r * dim, dim, queries, out + r, ldo);
  for (; r < rows; ++r) dot_block<1, Queries>(base + r * dim, dim, queries, out + r, ldo);
}

[[maybe_unused]] void dots(const float* base, std::int64_t rows, std::int64_t dim, const float* queries,
                           std::int64_t count, float* out, std::int64_t ldo) {
  for (std::int64_t q = 0; q < count;) {
    const auto left = count - q;
    const float* x = queries + q * dim;
    float* to = out + q * ldo;
    if (left >= 4) {
      dots_of<4>(base, rows, dim, x, to, ldo);
      q += 4;
    } else if (left >= 2) {
      dots_of<2>(base, rows, dim, x, to, ldo);
      q += 2;
    } else {
      dots_of<1>(base, rows, dim, x, to, ldo);
      q += 1;
    }
  }
}

}  // namespace
