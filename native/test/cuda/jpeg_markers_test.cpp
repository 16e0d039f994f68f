// Which JPEG files hold RGB instead of YCbCr, by libjpeg's rules, and which are whole.
#include "jpeg_markers.h"

#include <initializer_list>
#include <string>
#include <vector>

#include "check.h"

using torchclip::cuda::has_image_end;
using torchclip::cuda::is_rgb_jpeg;
using Bytes = std::vector<std::uint8_t>;

namespace {

void append(Bytes& file, std::uint8_t marker, const Bytes& body) {
  const auto length = static_cast<std::uint8_t>(body.size() + 2);
  file.insert(file.end(), {0xff, marker, 0, length});
  file.insert(file.end(), body.begin(), body.end());
}

Bytes start() { return {0xff, 0xd8}; }

void append_jfif(Bytes& file) { append(file, 0xe0, {'J', 'F', 'I', 'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0}); }

void append_adobe(Bytes& file, std::uint8_t transform) {
  append(file, 0xee, {'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, transform});
}

// A frame of 16 x 16 pixels with components of these ids, and the start of its scan.
void append_frame(Bytes& file, const std::string& ids, std::uint8_t frame = 0xc0) {
  Bytes body{8, 0, 16, 0, 16, static_cast<std::uint8_t>(ids.size())};
  for (const char id : ids) body.insert(body.end(), {static_cast<std::uint8_t>(id), 0x11, 0});
  append(file, frame, body);
  append(file, 0xda, {0, 0, 0});
}

bool is_rgb(const Bytes& file) { return is_rgb_jpeg(file.data(), file.size()); }

const std::string kUsual = "\1\2\3";

}  // namespace

TEST_CASE("an ordinary file is YCbCr") {
  auto file = start();
  append_jfif(file);
  append_frame(file, kUsual);
  CHECK(!is_rgb(file));
}

TEST_CASE("Adobe's marker with transform 0 means RGB, with 1 YCbCr") {
  for (const auto transform : std::initializer_list<std::uint8_t>{0, 1}) {
    for (const auto frame : std::initializer_list<std::uint8_t>{0xc0, 0xc2}) {
      auto file = start();
      append_adobe(file, transform);
      append_frame(file, kUsual, frame);
      CHECK(is_rgb(file) == (transform == 0));
    }
  }
}

TEST_CASE("a JFIF marker wins over Adobe's") {
  auto file = start();
  append_jfif(file);
  append_adobe(file, 0);
  append_frame(file, kUsual);
  CHECK(!is_rgb(file));
}

TEST_CASE("components called R, G and B are RGB where no marker says anything") {
  auto file = start();
  append_frame(file, "RGB");
  CHECK(is_rgb(file));
  auto marked = start();
  append_adobe(marked, 1);
  append_frame(marked, "RGB");
  CHECK(!is_rgb(marked));
}

TEST_CASE("grey files, files of four components and damaged ones are not RGB") {
  for (const char* ids : {"R", "RGBA"}) {
    auto file = start();
    append_adobe(file, 0);
    append_frame(file, ids);
    CHECK(!is_rgb(file));
  }
  auto whole = start();
  append_frame(whole, "RGB");
  for (auto end = whole.begin(); end != whole.begin() + 20; ++end) CHECK(!is_rgb(Bytes(whole.begin(), end)));
  CHECK(!is_rgb({0xff, 0xd8, 0xff, 0xe0, 0xff, 0xff}));
  CHECK(!is_rgb({0xff, 0xd8, 0xff, 0xe0, 0, 0}));
}

TEST_CASE("a whole file has the end of its image in its last 4,096 bytes") {
  auto file = start();
  append_frame(file, kUsual);
  file.insert(file.end(), {0xff, 0xda, 0, 2});
  file.insert(file.end(), 10000, 7);
  CHECK(!has_image_end(file.data(), file.size()));
  file.insert(file.end(), {0xff, 0xd9});
  CHECK(has_image_end(file.data(), file.size()));
  CHECK(!has_image_end(file.data(), file.size() - 1));
  file.insert(file.end(), 4094, 0);
  CHECK(has_image_end(file.data(), file.size()));
  file.push_back(0);
  CHECK(!has_image_end(file.data(), file.size()));
  CHECK(!has_image_end(file.data(), 0));
}

TEST_CASE("the end of a thumbnail in the headers is not that of the image") {
  auto file = start();
  file.insert(file.end(), {0xff, 0xe1, 0, 8, 0xff, 0xd8, 1, 2, 0xff, 0xd9});
  append_frame(file, kUsual);
  CHECK(!has_image_end(file.data(), file.size()));
  file.insert(file.end(), {0xff, 0xda, 0, 2, 7, 7});
  CHECK(!has_image_end(file.data(), file.size()));
  file.insert(file.end(), {0xff, 0xd9});
  CHECK(has_image_end(file.data(), file.size()));
}
