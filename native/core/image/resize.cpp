#include "image/resize.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/environment.h"
#include "image/resize_kernel.h"
#include "image/resize_neon.h"
#include "image/resize_plan.h"

namespace torchclip::core {
namespace {

constexpr int kPrecisionBits = kResizeBits;

inline std::uint8_t clip8(std::int32_t v) { return static_cast<std::uint8_t>(std::clamp(v >> kPrecisionBits, 0, 255)); }

constexpr std::int32_t kHalf = 1 << (kPrecisionBits - 1);

template <int C>
inline void horizontal_pixel(const std::uint8_t* p, const std::int32_t* w, std::int32_t count, std::uint8_t* out) {
  std::int32_t r = kHalf, g = r, b = r;
  for (std::int32_t x = 0; x < count; ++x, p += C) {
    r += p[0] * w[x];
    if constexpr (C >= 3) {
      g += p[1] * w[x];
      b += p[2] * w[x];
    }
  }
  out[0] = clip8(r);
  out[1] = C >= 3 ? clip8(g) : clip8(r);
  out[2] = C >= 3 ? clip8(b) : clip8(r);
}

template <int C>
void horizontal_row(const std::uint8_t* in, const ResizeKernel& k, std::uint8_t* out) {
  const auto n = static_cast<std::int32_t>(k.taps.size());
  for (std::int32_t i = 0; i < n; ++i) {
    const auto [first, count] = k.taps_of(i);
    horizontal_pixel<C>(in + std::ptrdiff_t{first} * C, k.weights_of(i), count, out + 3 * i);
  }
}

// Columns [0, bytes) of an output row of the vertical pass: `in` is the first tap's row.
inline __attribute__((always_inline)) void vertical_columns(const std::uint8_t* in, std::size_t stride,
                                                            std::size_t bytes, const std::int32_t* w,
                                                            std::int32_t count, std::uint8_t* out) {
  constexpr std::size_t kBlock = 64;  // sums that stay in registers
  std::size_t x = 0;
  for (; x + kBlock <= bytes; x += kBlock) {
    std::int32_t sums[kBlock];
    for (auto& s : sums) s = kHalf;
    for (std::int32_t i = 0; i < count; ++i) {
      const std::uint8_t* row = in + stride * static_cast<std::size_t>(i) + x;
      for (std::size_t j = 0; j < kBlock; ++j) sums[j] += row[j] * w[i];
    }
    for (std::size_t j = 0; j < kBlock; ++j) out[x + j] = clip8(sums[j]);
  }
  for (; x < bytes; ++x) {
    std::int32_t sum = kHalf;
    for (std::int32_t i = 0; i < count; ++i) sum += in[stride * static_cast<std::size_t>(i) + x] * w[i];
    out[x] = clip8(sum);
  }
}

void vertical_plain(const std::uint8_t* in, std::size_t stride, std::size_t bytes, const std::int32_t* w,
                    std::int32_t count, std::uint8_t* out) {
  vertical_columns(in, stride, bytes, w, count, out);
}

// The same integer sums with AVX2, where the machine has it: the bytes cannot differ.
#if defined(__x86_64__) && defined(__GNUC__)
#define TORCHCLIP_RESIZE_AVX2

__attribute__((target("avx2"))) void vertical_avx2(const std::uint8_t* in, std::size_t stride, std::size_t bytes,
                                                   const std::int32_t* w, std::int32_t count, std::uint8_t* out) {
  vertical_columns(in, stride, bytes, w, count, out);
}

// Two taps of an RGB pixel at a time. `end`: of memory that may be read; loads reach two bytes beyond the taps.
__attribute__((target("avx2"))) void horizontal_rgb_avx2(const std::uint8_t* in, const std::uint8_t* end,
                                                         const ResizeKernel& k, std::uint8_t* out) {
  const __m128i apart = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m256i both = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
  const auto n = static_cast<std::int32_t>(k.taps.size());
  for (std::int32_t i = 0; i < n; ++i) {
    const auto [first, count] = k.taps_of(i);
    const std::uint8_t* p = in + std::ptrdiff_t{first} * 3;
    const std::int32_t* w = k.weights_of(i);
    if (end - p < static_cast<std::ptrdiff_t>(count) * 3 + 2) {
      horizontal_pixel<3>(p, w, count, out + 3 * i);
      continue;
    }
    __m256i sum = _mm256_setzero_si256();
    std::int32_t x = 0;
    for (; x + 1 < count; x += 2) {
      const __m128i bytes = _mm_shuffle_epi8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 3 * x)), apart);
      const __m256i weights = _mm256_permutevar8x32_epi32(
          _mm256_castsi128_si256(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(w + x))), both);
      sum = _mm256_add_epi32(sum, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(bytes), weights));
    }
    __m128i total = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    if (x < count) {
      std::int32_t bytes;
      std::memcpy(&bytes, p + 3 * x, 4);
      total = _mm_add_epi32(total, _mm_mullo_epi32(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(bytes)), _mm_set1_epi32(w[x])));
    }
    total = _mm_srai_epi32(_mm_add_epi32(total, _mm_set1_epi32(kHalf)), kPrecisionBits);
    const __m128i words = _mm_packs_epi32(total, total);
    const auto rgb = static_cast<std::uint32_t>(_mm_cvtsi128_si32(_mm_packus_epi16(words, words)));
    out[3 * i] = static_cast<std::uint8_t>(rgb);
    out[3 * i + 1] = static_cast<std::uint8_t>(rgb >> 8);
    out[3 * i + 2] = static_cast<std::uint8_t>(rgb >> 16);
  }
}

// TORCHCLIP_ISA=none turns it off, for tests.
const bool kAvx2 = [] { return __builtin_cpu_supports("avx2") && environment("TORCHCLIP_ISA") != "none"; }();
#endif

#if defined(TORCHCLIP_RESIZE_NEON)
// `end`: of memory that may be read.
void horizontal_rgb_neon_row(const std::uint8_t* in, const std::uint8_t* end, const ResizeKernel& k,
                             std::uint8_t* out) {
  const auto n = static_cast<std::int32_t>(k.taps.size());
  for (std::int32_t i = 0; i < n; ++i) {
    const auto [first, count] = k.taps_of(i);
    const std::uint8_t* p = in + std::ptrdiff_t{first} * 3;
    const std::int32_t* w = k.weights_of(i);
    const bool readable = end - p >= static_cast<std::ptrdiff_t>(count) * 3 + kNeonBeyond;
    (readable ? horizontal_rgb_neon : horizontal_pixel<3>)(p, w, count, out + 3 * i);
  }
}

// TORCHCLIP_ISA=none turns it off, for tests.
const bool kNeon = environment("TORCHCLIP_ISA") != "none";
#endif

// No horizontal scaling: the window's columns as they are, as RGB.
void copy_row(const std::uint8_t* in, int channels, std::int64_t left, std::int32_t width, std::uint8_t* out) {
  const std::uint8_t* p = in + left * channels;
  for (std::int32_t i = 0; i < width; ++i, p += channels) {
    out[3 * i] = p[0];
    out[3 * i + 1] = channels >= 3 ? p[1] : p[0];
    out[3 * i + 2] = channels >= 3 ? p[2] : p[0];
  }
}

}  // namespace

namespace {

// Output row y of a vertical pass: `in` is the row at position `origin`, rows `stride` bytes apart, `bytes` wide.
void vertical_row(const std::uint8_t* in, std::size_t stride, std::int32_t origin, std::size_t bytes,
                  const ResizeKernel& k, std::int32_t y, std::uint8_t* out) {
  const auto [first, count] = k.taps_of(y);
  const std::int32_t* w = k.weights_of(y);
  in += stride * static_cast<std::size_t>(first - origin);
#if defined(TORCHCLIP_RESIZE_AVX2)
  if (kAvx2) return vertical_avx2(in, stride, bytes, w, count, out);
#endif
  vertical_plain(in, stride, bytes, w, count, out);
}

// `end`: of the memory that `in` lies in.
void horizontal(const std::uint8_t* in, const std::uint8_t* end, int channels, const ResizeKernel& k,
                std::uint8_t* out) {
#if defined(TORCHCLIP_RESIZE_AVX2)
  if (kAvx2 && channels == 3) return horizontal_rgb_avx2(in, end, k, out);
#elif defined(TORCHCLIP_RESIZE_NEON)
  if (kNeon && channels == 3) return horizontal_rgb_neon_row(in, end, k, out);
#else
  (void)end;
#endif
  if (channels == 3) {
    horizontal_row<3>(in, k, out);
  } else if (channels == 4) {
    horizontal_row<4>(in, k, out);
  } else {
    horizontal_row<1>(in, k, out);
  }
}

// The bytes of `count` rows or pixels.
std::size_t times(std::int32_t count, std::size_t bytes) { return static_cast<std::size_t>(count) * bytes; }

}  // namespace

void resize_window(const Image& image, std::int64_t new_width, std::int64_t new_height, const Window& window,
                   Filter filter, std::uint8_t* out) {
  const bool scale_x = new_width != image.width, scale_y = new_height != image.height;
  ResizeKernel kx, ky;
  if (scale_x) kx = make_kernel(image.width, new_width, window.left, window.width, filter);
  if (scale_y) ky = make_kernel(image.height, new_height, window.top, window.height, filter);
  const auto channels = static_cast<std::size_t>(image.channels);
  const std::size_t row = times(window.width, 3);
  const std::size_t stride = times(image.width, channels);

  if (vertical_first(image.width, image.height, new_width, new_height)) {
    const TouchedRange columns = touched(kx);
    for (auto& t : kx.taps) t.first -= columns.first;
    const std::size_t bytes = times(columns.last - columns.first, channels);
    std::vector<std::uint8_t> narrow(bytes);
    const std::uint8_t* in = image.pixels + times(columns.first, channels);
    for (std::int32_t y = 0; y < window.height; ++y) {
      vertical_row(in, stride, 0, bytes, ky, y, narrow.data());
      horizontal(narrow.data(), narrow.data() + bytes, image.channels, kx, out + times(y, row));
    }
    return;
  }

  const TouchedRange rows = scale_y ? touched(ky)
                                    : TouchedRange{static_cast<std::int32_t>(window.top),
                                                   static_cast<std::int32_t>(window.top) + window.height};
  std::vector<std::uint8_t> between;
  std::uint8_t* narrow = out;
  if (scale_y) {
    between.resize(times(rows.last - rows.first, row));
    narrow = between.data();
  }
  for (std::int32_t y = rows.first; y < rows.last; ++y) {
    const std::uint8_t* in = image.pixels + times(y, stride);
    std::uint8_t* to = narrow + times(y - rows.first, row);
    if (scale_x) {
      horizontal(in, image.pixels + times(image.height, stride), image.channels, kx, to);
    } else {
      copy_row(in, image.channels, window.left, window.width, to);
    }
  }
  if (!scale_y) return;
  for (std::int32_t y = 0; y < window.height; ++y) {
    vertical_row(narrow, row, rows.first, row, ky, y, out + times(y, row));
  }
}

}  // namespace torchclip::core
