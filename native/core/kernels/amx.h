// Matrix multiplication for bf16 and int8 with AMX's tile registers. The instructions are those of immintrin.h, or
// scalar loops with the same names (native/test/amx.h) on machines without AMX.
//
// Eight tiles of 16 rows of 64 bytes are used: four for sums (two of rows by two of columns), two for A and two for
// weights. The layout of a panel (kernels.h) is that of a tile: 16 steps of 16 columns of 4 bytes, 128 bytes apart.
#pragma once

#include <cstring>

#include "kernels/gemm.h"

namespace {

constexpr int kTileRows = 16, kTileBytes = 64;

// Intel 64 and IA-32 Architectures Software Developer's Manual, LDTILECFG: palette 1.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start = 0, reserved[14] = {};
  std::uint16_t bytes[16] = {};  // The bytes of a row of each tile.
  std::uint8_t rows[16] = {};
  explicit TileConfig(int count) {
    const int second = count > kTileRows ? count - kTileRows : 0;
    const auto first = static_cast<std::uint8_t>(count - second);
    for (int i = 0; i < 8; ++i) bytes[i] = kTileBytes;
    rows[0] = rows[1] = rows[4] = first;
    rows[2] = rows[3] = rows[5] = static_cast<std::uint8_t>(second);
    if (second == 0) bytes[2] = bytes[3] = bytes[5] = 0;
    rows[6] = rows[7] = kTileRows;  // Weights: 16 steps.
  }
};
static_assert(sizeof(TileConfig) == 64);

// Multiplies 32 rows (or fewer) by a panel over 16 steps and adds the result to the sums. The intrinsics need the
// numbers of the tiles as literals, hence the functions upper and lower.
template <typename Step, bool Two>
void tile_step(const char* a, std::int64_t lda, const char* weights) {
  _tile_loadd(6, weights, 2 * kTileBytes);
  _tile_loadd(7, weights + kTileBytes, 2 * kTileBytes);
  _tile_loadd(4, a, lda);
  Step::upper();
  if constexpr (Two) {
    _tile_loadd(5, a + kTileRows * lda, lda);
    Step::lower();
  }
}

template <typename Step, bool Two>
void tile_rows(int rows, const char* a, std::int64_t lda, const char* weights, std::int64_t steps, char* out,
               const TilePrefetch& upcoming) {
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (Two) {
    _tile_zero(2);
    _tile_zero(3);
  }
  const std::int64_t whole = steps / kTileRows;
  int fetched = 0;
  for (std::int64_t k = 0; k < whole; ++k) {
    if (upcoming.to) {
      for (const auto until = static_cast<int>((k + 1) * rows / whole); fetched < until; ++fetched)
        upcoming.fetch_row(fetched);
    }
    tile_step<Step, Two>(a + k * kTileBytes, lda, weights + k * kTileRows * 2 * kTileBytes);
  }
  if (const std::int64_t rest = steps % kTileRows) {  // Padded with zeros, because the memory beyond may hold NaN.
    alignas(64) char last[2 * kTileRows * kTileBytes] = {}, some[2 * kTileRows * kTileBytes] = {};
    for (int r = 0; r < rows; ++r) {
      std::memcpy(last + r * kTileBytes, a + r * lda + whole * kTileBytes, static_cast<std::size_t>(rest * 4));
    }
    std::memcpy(some, weights + whole * kTileRows * 2 * kTileBytes, static_cast<std::size_t>(rest * 2 * kTileBytes));
    tile_step<Step, Two>(last, kTileBytes, some);
  }
  _tile_stored(0, out, 2 * kTileBytes);
  _tile_stored(1, out + kTileBytes, 2 * kTileBytes);
  if constexpr (Two) {
    _tile_stored(2, out + kTileRows * 2 * kTileBytes, 2 * kTileBytes);
    _tile_stored(3, out + kTileRows * 2 * kTileBytes + kTileBytes, 2 * kTileBytes);
  }
}

template <typename Step>
void all_rows(int rows, const char* a, std::int64_t lda, const char* weights, std::int64_t steps, char* out,
              const TilePrefetch& upcoming) {
  const TileConfig config(rows);
  _tile_loadconfig(&config);
  (rows > kTileRows ? tile_rows<Step, true> : tile_rows<Step, false>)(rows, a, lda, weights, steps, out, upcoming);
}

struct Bf16Tiles {
  using Sum = Floats;
  static constexpr int kRows = 2 * kTileRows, kOffset = 0, kBytes = 4;
  static void upper() {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
  }
  static void lower() {
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  static void rows(int n, const char* a, std::int64_t lda, const char* w, std::int64_t steps, std::int64_t, Sum* out,
                   const TilePrefetch& upcoming) {
    all_rows<Bf16Tiles>(n, a, lda, w, steps, reinterpret_cast<char*>(out), upcoming);
  }
};
struct Int8Tiles {  // A is signed, the weights are unsigned.
  using Sum = Ints;
  static constexpr int kRows = 2 * kTileRows, kOffset = 128, kBytes = 4;
  static void upper() {
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
  }
  static void lower() {
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
  }
  static void rows(int n, const char* a, std::int64_t lda, const char* w, std::int64_t steps, std::int64_t, Sum* out,
                   const TilePrefetch& upcoming) {
    all_rows<Int8Tiles>(n, a, lda, w, steps, reinterpret_cast<char*>(out), upcoming);
  }
};

// Releases the tiles at the end, so that a context switch has less state to save.
template <typename Step>
void gemm_by_tiles(const GemmArgs& args, std::int64_t row_begin, std::int64_t row_end, std::int64_t panel_begin,
                   std::int64_t panel_end) {
  gemm<Step>(args, row_begin, row_end, panel_begin, panel_end);
  _tile_release();
}

}  // namespace
