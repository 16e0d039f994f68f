// The goldens of test/goldens without Node: the resampler's bytes against the hashes of Pillow's, and embeddings in
// every precision against those of the reference implementations. Also for machines that only an emulator offers.
//   golden_test pixels GOLDENS.json [LIMIT]      images of more than LIMIT pixels are left out
//   golden_test embeddings GOLDENS.json ARTIFACT.pt [CASE]     CASE: its number in families.json
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/json.h"
#include "image/preprocess.h"
#include "kernels/kernels.h"
#include "sha256.h"
#include "torchclip/torchclip.hpp"
#include "values.h"

using namespace torchclip::core;

namespace {

int failures = 0;

void expect(bool ok, const char* what) {
  if (ok) return;
  ++failures;
  std::fprintf(stderr, "failed: %s\n", what);
}

Json read_json(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return Json::parse(text);
}

// noise() and noiseImage() of test/support/noise.ts.
std::uint32_t noise(std::uint32_t seed, std::uint32_t i) {
  std::uint32_t h = i * 2654435761u + seed * 40503u;
  h ^= h >> 15;
  h *= 2246822519u;
  return h ^ h >> 13;
}

struct NoiseImage {
  std::vector<std::uint8_t> data;
  Image image;
  NoiseImage(std::uint32_t seed, std::int32_t width, std::int32_t height, std::int32_t channels)
      : data(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * static_cast<std::size_t>(channels)),
        image{nullptr, width, height, channels} {
    const std::size_t step = std::max<std::size_t>(1, data.size() / 97);
    for (std::size_t i = 0; i < data.size(); ++i) {
      data[i] = static_cast<std::uint8_t>((noise(seed, static_cast<std::uint32_t>(i)) & 127) + i * 97 / step % 128);
    }
    image.pixels = data.data();
  }
};

std::int32_t integer(const Json& json, double otherwise = 0) {
  return static_cast<std::int32_t>(json.number(otherwise));
}

// The position of a value in a list of names, or the value itself if it is a number; 0 if it is missing.
std::int32_t choice(const Json& json, const std::vector<std::string>& names) {
  if (json.kind() == Json::Kind::number) return integer(json);
  const auto found = std::find(names.begin(), names.end(), json.text(names[0]));
  return static_cast<std::int32_t>(found - names.begin());
}

void check_pixels(const Json& cases, double limit) {
  int compared = 0;
  for (const Json& c : cases.items()) {
    const std::int32_t width = integer(c["width"]), height = integer(c["height"]);
    if (static_cast<double>(width) * height > limit) continue;
    Transform transform;
    transform.size = integer(c["size"]);
    transform.resize = static_cast<Resize>(choice(c["resize"], {"shortest", "squash", "longest"}));
    transform.filter =
        static_cast<Filter>(choice(c["interpolation"], {"bicubic", "bilinear", "box", "hamming", "lanczos"}));
    transform.fill = static_cast<std::uint8_t>(c["fill"].number());
    transform.resized = integer(c["resized"], transform.size);
    transform.crop = static_cast<Crop>(integer(c["crop"]));
    const NoiseImage input(static_cast<std::uint32_t>(c["seed"].number()), width, height, integer(c["channels"]));
    std::vector<std::uint8_t> out(static_cast<std::size_t>(transform.size) * static_cast<std::size_t>(transform.size) *
                                  3);
    preprocess(input.image, transform, out.data());
    const std::string sizes = std::to_string(width) + " x " + std::to_string(height) + " x " +
                              std::to_string(input.image.channels) + " to " + std::to_string(transform.size);
    expect(torchclip::test::sha256(out) == c["sha256"].text(), sizes.c_str());
    ++compared;
  }
  std::printf("%d images have the bytes of Pillow\n", compared);
  expect(compared > 0, "no image is small enough");
}

struct Agreement {
  double difference = 0, cosine = 1;
};

// `expected`: normalised rows.
Agreement compare(const std::vector<float>& rows, const Json& expected) {
  Agreement result;
  std::size_t at = 0;
  for (const Json& row : expected.items()) {
    double cosine = 0;
    for (const Json& value : row.items()) {
      const double x = at < rows.size() ? rows[at++] : NAN;
      result.difference = torchclip::test::larger_error(result.difference, std::abs(x - value.number()));
      cosine += x * value.number();
    }
    result.cosine = std::min(result.cosine, cosine);
  }
  return result;
}

std::vector<std::uint8_t> pixels_of(const torchclip::Clip& clip, const Json& images) {
  std::vector<std::uint8_t> batch;
  for (const Json& image : images.items()) {
    const auto& numbers = image.items();
    const NoiseImage input(static_cast<std::uint32_t>(numbers[0].number()), integer(numbers[1]), integer(numbers[2]),
                           3);
    const auto pixels = clip.preprocess(input.data.data(), input.image.width, input.image.height, 3);
    batch.insert(batch.end(), pixels.begin(), pixels.end());
  }
  return batch;
}

std::vector<float> encode_ids(torchclip::Clip& clip, const Json& rows) {
  std::vector<std::int32_t> ids;
  for (const Json& row : rows.items()) {
    for (const Json& id : row.items()) ids.push_back(integer(id));
  }
  const auto count = static_cast<std::int64_t>(rows.items().size());
  return clip.encode_tokens(ids.data(), count,
                            static_cast<std::int32_t>(static_cast<std::int64_t>(ids.size()) / count));
}

// The tolerances of test/fast.test.ts and test/models/families.test.ts.
struct Tolerance {
  const char* precision;
  double difference, cosine;
};
constexpr Tolerance kTolerances[] = {
    {"fp32", 1e-5, 1 - 1e-6}, {"bf16", 2, 0.9995}, {"fp16", 2, 0.9995}, {"int8", 2, 0.999}};

void check_embeddings(const Json& golden, const Json& images, const char* artifact) {
  for (const auto& [precision, difference, cosine] : kTolerances) {
    torchclip::Clip clip(artifact, torchclip_options{"cpu", precision, 1, 0, 0});
    const auto batch = pixels_of(clip, images);
    const auto count = static_cast<std::int64_t>(images.items().size());
    const Agreement image = compare(clip.encode_pixels(batch.data(), count), golden["image"]);
    const Agreement text = compare(encode_ids(clip, golden["ids"]), golden["text"]);
    std::printf("  %s: images differ by %.2g, cosine %.6f; texts by %.2g, %.6f\n", precision, image.difference,
                image.cosine, text.difference, text.cosine);
    for (const Agreement& a : {image, text}) expect(a.difference <= difference && a.cosine >= cosine, precision);
  }
}

}  // namespace

int main(int count, char** arguments) {
  const bool pixels = count >= 3 && std::strcmp(arguments[1], "pixels") == 0;
  if (!pixels && (count < 4 || std::strcmp(arguments[1], "embeddings") != 0)) {
    std::fprintf(stderr,
                 "usage: golden_test pixels GOLDENS.json [LIMIT] | embeddings GOLDENS.json ARTIFACT.pt [CASE]\n");
    return 2;
  }
  const Json goldens = read_json(arguments[2]);
  std::printf("%s\n", kernels()->name);
  if (pixels) {
    check_pixels(goldens, count > 3 ? std::atof(arguments[3]) : 1e9);
  } else if (count > 4) {
    const Json& c = goldens["cases"].items().at(static_cast<std::size_t>(std::atoi(arguments[4])));
    std::printf("%s\n", c["name"].text().c_str());
    check_embeddings(c, goldens["images"], arguments[3]);
  } else {
    check_embeddings(goldens, goldens["images"], arguments[3]);
  }
  return failures == 0 ? 0 : 1;
}
