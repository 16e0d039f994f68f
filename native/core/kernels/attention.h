// Attention of one head, for the instruction set that this file is compiled for. Include it after steps.h.
#pragma once

#include "kernels/gemm.h"
#include "kernels/steps.h"

namespace {

using torchclip::core::Attention;
using torchclip::core::kAttentionRows;
using torchclip::core::round_up;

// The rows of the keys in k or in v, `ld` bytes apart.
struct Rows {
  const char* data;
  std::int64_t ld;
  const std::int32_t* order;
  const char* at(std::int64_t i) const { return data + (order ? order[i] : i) * ld; }
};

// to[c * distance + r] is unit c of key `first` + r, for up to kLanes rows and columns. Rows from `rows` on are zeros.
inline void transpose_block(const Rows& from, std::int64_t first, std::int64_t unit, std::int64_t rows,
                            std::int64_t columns, std::int32_t* to, std::int64_t distance) {
  Ints r[kLanes], t[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    r[i] = i < rows ? load_first(reinterpret_cast<const std::int32_t*>(from.at(first + i)) + unit, columns)
                    : to_ints(zero());
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; i += 2) {
    t[i] = unpack_low(r[i], r[i + 1]);
    t[i + 1] = unpack_high(r[i], r[i + 1]);
  }
  // r[4 i + j] holds, in each quarter L of a register, rows 4 i ... 4 i + 3 of column 4 L + j.
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; i += 4) {
    for (int j = 0; j < 2; ++j) {
      r[i + 2 * j] = unpack_low_pairs(t[i + j], t[i + j + 2]);
      r[i + 2 * j + 1] = unpack_high_pairs(t[i + j], t[i + j + 2]);
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
#if defined(__AVX512F__)
    const Ints a = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88), b = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
    const Ints c = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88), d = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
    t[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    t[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
    t[8 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
    t[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
#elif defined(__AVX2__)
    t[j] = _mm256_permute2x128_si256(r[j], r[4 + j], 0x20);
    t[4 + j] = _mm256_permute2x128_si256(r[j], r[4 + j], 0x31);
#else
    t[j] = r[j];
#endif
  }
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i < columns) store(to + i * distance, t[i]);
  }
}

// Packs rows of `units` 4-byte units (one float or two bf16) into strips of columns, [units][kStrip], with zeros in
// empty rows.
inline void pack_keys(const Rows& k, std::int64_t keys, std::int64_t units, std::int32_t* strips) {
  for (std::int64_t first = 0; first < round_up(keys, kPanel); first += kLanes) {
    std::int32_t* strip = strips + first / kStrip * kStrip * units + first % kStrip;
    const std::int64_t rows = first < keys ? smaller(kLanes, keys - first) : 0;
    for (std::int64_t u = 0; u < units; u += kLanes) {
      transpose_block(k, first, u, rows, smaller(kLanes, units - u), strip + u * kStrip, kStrip);
    }
  }
}

// Computes exp(s - max) of the first `count` scores of a row, in the input format of the second multiplication, with
// zeros up to `padded` (a multiple of a panel). Returns their sum.
template <typename Step>
float softmax_exp(float* s, std::int64_t count, std::int64_t padded) {
  for (std::int64_t i = count; i < padded; ++i) s[i] = -3e38f;
  Floats maxima = all(-3e38f);
  const std::int64_t used = round_up(count, kLanes);
  for (std::int64_t i = 0; i < used; i += kLanes) maxima = max_of(maxima, load(s + i));
  const Floats largest = all(max_of(maxima));
  Floats total = zero();
  for (std::int64_t i = 0; i < used; i += kLanes) {
    const Floats e = exponential(load(s + i) - largest);
    Step::put(s, i, e);  // bf16 fills the first half of the row and never overtakes the reads.
    total = total + e;
  }
  // Each padding score became 1e-38, which is negligible beside the largest value, 1, but is not zero.
  Step::clear(s, count, padded);
  return sum_of(total);
}

struct F32Attention : F32FmaStep {
  using Value = float;
  static constexpr std::int64_t kGroup = 1;  // The elements of a 4-byte unit.
  static void put(float* row, std::int64_t i, Floats v) { store(row + i, v); }
  static void clear(float* row, std::int64_t from, std::int64_t to) {
    for (std::int64_t i = from; i < to; ++i) row[i] = 0;
  }
  // Packs a strip of columns: [keys][kStrip].
  static void pack_values(const Rows& rows, std::int64_t keys, std::int64_t columns, char* to) {
    auto* out = reinterpret_cast<float*>(to);
    for (std::int64_t i = 0; i < keys; ++i, out += kStrip) {
      const auto* v = reinterpret_cast<const float*>(rows.at(i));
      if (columns == kStrip) {
        for (int j = 0; j < 2; ++j) store(out + j * kLanes, load(v + j * kLanes));
      } else {
        for (std::int64_t j = 0; j < kStrip; ++j) out[j] = j < columns ? v[j] : 0;
      }
    }
  }
};

// The scores of attention in bf16.
struct Bf16Rows {
  using Value = std::uint16_t;
  static constexpr std::int64_t kGroup = 2;  // The elements of a 4-byte unit.
  static void put(float* row, std::int64_t i, Floats v) { store_bf16(reinterpret_cast<std::uint16_t*>(row) + i, v); }
  static void clear(float* row, std::int64_t from, std::int64_t to) {
    for (std::int64_t i = from; i < to; ++i) reinterpret_cast<std::uint16_t*>(row)[i] = 0;
  }
};

#if defined(__AVX512BF16__)
static_assert(kStrip == kPanel);
// The source indices of the elements of two interleaved rows of 32.
struct Pairs {
  alignas(64) std::uint16_t at[2 * kPanel];
  constexpr Pairs() : at{} {
    for (int i = 0; i < 2 * kPanel; ++i) at[i] = static_cast<std::uint16_t>(i / 2 + i % 2 * kPanel);
  }
};
constexpr Pairs kPairs;

struct Bf16Attention : Bf16Step, Bf16Rows {
  // Packs a strip of 32 columns as pairs of keys, [keys / 2][32][2].
  static void pack_values(const Rows& v, std::int64_t keys, std::int64_t columns, char* to) {
    const Ints low = _mm512_load_si512(kPairs.at), high = _mm512_load_si512(kPairs.at + kPanel);
    const auto some = static_cast<__mmask32>(columns == kPanel ? ~0u : (1u << columns) - 1);
    for (std::int64_t i = 0; i < keys; i += 2, to += 2 * sizeof(Ints)) {
      const Ints a = _mm512_maskz_loadu_epi16(some, v.at(i));
      const Ints b = i + 1 < keys ? _mm512_maskz_loadu_epi16(some, v.at(i + 1)) : _mm512_setzero_si512();
      _mm512_storeu_si512(to, _mm512_permutex2var_epi16(a, low, b));
      _mm512_storeu_si512(to + sizeof(Ints), _mm512_permutex2var_epi16(a, high, b));
    }
  }
};
#endif

template <typename Step>
void attention(const Attention& t) {
  using Value = typename Step::Value;
  constexpr int R = Step::kRows;
  constexpr std::int64_t G = Step::kGroup, kSize = sizeof(Value);
  static_assert(R <= kAttentionRows);
  const std::int64_t padded = round_up(t.keys, kPanel), units = t.width / G, lines = round_up(t.keys, G) / G;
  auto* keys = reinterpret_cast<std::int32_t*>(t.scratch);        // Strips of keys: [units][kStrip].
  char* values = reinterpret_cast<char*>(keys + padded * units);  // Strips of columns: [lines][kStrip].
  auto* scores = reinterpret_cast<float*>(values + lines * round_up(t.width, kPanel) * 4);  // [R][padded]
  float* result = scores + kAttentionRows * padded;                                         // [R][32]
  pack_keys({static_cast<const char*>(t.k), t.ldk * kSize, t.rows}, t.keys, units, keys);
  for (std::int64_t c = 0; c < round_up(t.width, kPanel); c += kStrip) {
    const std::int64_t columns = c < t.width ? smaller(kStrip, t.width - c) : 0;
    Step::pack_values({static_cast<const char*>(t.v) + c * kSize, t.ldk * kSize, t.rows}, t.keys, columns,
                      values + c * lines * 4);
  }
  const std::int64_t before = t.keys - t.queries;  // The number of keys that every query attends to.
  const std::int64_t blocks = (t.queries + R - 1) / R;
  for (std::int64_t b = 0; b < blocks; ++b) {
    const std::int64_t begin = b * t.queries / blocks, end = (b + 1) * t.queries / blocks;
    const int rows = static_cast<int>(end - begin);
    const std::int64_t seen = t.causal ? before + end : t.keys, panels = round_up(seen, kPanel) / kPanel;
    Floats sums[std::size_t{R * kWide}];
    for (std::int64_t p = 0; p < panels; ++p) {
      tile_of<Step, R>(rows, static_cast<const char*>(t.q) + begin * t.ldq * kSize, t.ldq * kSize,
                       reinterpret_cast<const char*>(keys + p * kPanel * units), units, units * kStrip * 4, sums);
      for (int r = 0; r < rows; ++r) {
        for (int i = 0; i < kWide; ++i) store(scores + r * padded + p * kPanel + i * kLanes, sums[r * kWide + i]);
      }
    }
    float inverse[std::size_t{R}];
    for (int r = 0; r < rows; ++r) {
      const std::int64_t count = t.causal ? before + begin + r + 1 : t.keys;
      inverse[r] = 1.0f / softmax_exp<Step>(scores + r * padded, count, panels * kPanel);
    }
    for (std::int64_t c = 0; c < t.width; c += kPanel) {
      tile_of<Step, R>(rows, reinterpret_cast<const char*>(scores), padded * 4, values + c * lines * 4,
                       round_up(seen, G) / G, lines * kStrip * 4, sums);
      for (int r = 0; r < rows; ++r) {
        for (int i = 0; i < kWide; ++i) store(result + r * kPanel + i * kLanes, sums[r * kWide + i] * all(inverse[r]));
      }
      GemmArgs args;
      args.columns = t.width;
      args.out = t.out;
      args.ldo = t.ldo;
      args.out_type = t.out_type;
      epilogue(args, result, begin, rows, c);
    }
  }
}

}  // namespace
