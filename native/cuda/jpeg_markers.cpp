#include "jpeg_markers.h"

#include <cstring>

namespace torchclip::cuda {
namespace {

constexpr std::size_t kFirstMarker = 2;  // after the start of the image
constexpr std::uint8_t kStartOfScan = 0xda;

// Where the marker stands that is at `at`, or behind fill bytes there; `bytes` if the file ends or has something else.
std::size_t marker_at(const std::uint8_t* data, std::size_t bytes, std::size_t at) {
  while (at + 4 <= bytes && data[at] == 0xff && data[at + 1] == 0xff) ++at;
  return at + 4 <= bytes && data[at] == 0xff ? at : bytes;
}

// What the file says of the length of the segment of the marker at `at`, not checked.
std::size_t length_at(const std::uint8_t* data, std::size_t at) {
  return static_cast<std::size_t>(data[at + 2]) << 8 | data[at + 3];
}

// Where the first scan begins; 0 if the headers are damaged or end before it. Thumbnails lie in the headers.
std::size_t scan_of(const std::uint8_t* data, std::size_t bytes) {
  std::size_t at = marker_at(data, bytes, kFirstMarker);
  while (at < bytes) {
    if (data[at + 1] == kStartOfScan) return at;
    at = marker_at(data, bytes, at + 2 + length_at(data, at));
  }
  return 0;
}

}  // namespace

bool is_rgb_jpeg(const std::uint8_t* data, std::size_t bytes) {
  constexpr std::uint8_t kApp0 = 0xe0, kApp14 = 0xee;
  bool has_jfif = false, has_adobe = false, adobe_rgb = false;
  std::size_t at = marker_at(data, bytes, kFirstMarker);
  while (at < bytes) {
    const std::uint8_t marker = data[at + 1];
    const std::size_t length = length_at(data, at);
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
    at = marker_at(data, bytes, at + 2 + length);
  }
  return !has_jfif && has_adobe && adobe_rgb;
}

bool has_image_end(const std::uint8_t* data, std::size_t bytes) {
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
