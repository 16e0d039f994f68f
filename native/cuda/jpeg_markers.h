// What the markers of a JPEG file say of its colours, and whether the file is whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace torchclip::cuda {

// Whether the three components of a file are RGB instead of YCbCr, by the rules of libjpeg (jdapimin.c,
// default_decompress_parms): a JFIF marker means YCbCr; else Adobe's APP14 marker says it; else the components' ids
// "RGB" do. False for a file with another number of components and for one whose headers are damaged.
inline bool is_rgb_jpeg(const std::uint8_t* data, std::size_t bytes) {
  constexpr std::uint8_t kApp0 = 0xe0, kApp14 = 0xee, kStartOfScan = 0xda;
  bool has_jfif = false, has_adobe = false, adobe_rgb = false;
  std::size_t at = 2;  // after the start of the image
  while (at + 4 <= bytes && data[at] == 0xff) {
    const std::uint8_t marker = data[at + 1];
    if (marker == 0xff) {  // a fill byte
      ++at;
      continue;
    }
    const std::size_t length = static_cast<std::size_t>(data[at + 2]) << 8 | data[at + 3];
    const std::uint8_t* body = data + at + 4;
    if (length < 2 || length > bytes - at - 2) return false;
    const std::size_t body_bytes = length - 2;
    if (marker == kApp0 && body_bytes >= 5 && std::memcmp(body, "JFIF\0", 5) == 0) has_jfif = true;
    if (marker == kApp14 && body_bytes >= 12 && std::memcmp(body, "Adobe", 5) == 0) {
      has_adobe = true;
      adobe_rgb = body[11] == 0;
    }
    const bool is_frame = marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    if (is_frame) {
      if (body_bytes < 15 || body[5] != 3) return false;
      const bool named_rgb = body[6] == 'R' && body[9] == 'G' && body[12] == 'B';
      if (!has_jfif && !has_adobe && named_rgb) return true;
    }
    if (marker == kStartOfScan) break;
    at += 2 + length;
  }
  return !has_jfif && has_adobe && adobe_rgb;
}

// Where the first scan begins; 0 if the headers are damaged or end before it. Thumbnails lie in the headers.
inline std::size_t scan_of(const std::uint8_t* data, std::size_t bytes) {
  constexpr std::uint8_t kStartOfScan = 0xda;
  std::size_t at = 2;  // after the start of the image
  while (at + 4 <= bytes && data[at] == 0xff) {
    const std::uint8_t marker = data[at + 1];
    if (marker == 0xff) {  // a fill byte
      ++at;
      continue;
    }
    if (marker == kStartOfScan) return at;
    at += 2 + (static_cast<std::size_t>(data[at + 2]) << 8 | data[at + 3]);
  }
  return 0;
}

// Whether the marker of the image's end stands in the last bytes of a file, behind the headers: a file that is cut off
// has none there.
inline bool has_image_end(const std::uint8_t* data, std::size_t bytes) {
  constexpr std::size_t kTail = 4096;  // Of padding, or of what a camera writes behind the image.
  const std::size_t scan = scan_of(data, bytes);
  if (scan == 0) return false;
  const std::size_t first = bytes > scan + kTail ? bytes - kTail : scan;
  for (std::size_t at = first; at + 2 <= bytes; ++at) {
    if (data[at] == 0xff && data[at + 1] == 0xd9) return true;
  }
  return false;
}

}  // namespace torchclip::cuda
