// JPEG files that the device decodes, and decoded images that it resizes, against the same images decoded by another
// program: NAME.jpg beside NAME.ppm.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "measure.h"
#include "model_inputs.h"

namespace torchclip::gpu_check {
namespace {

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path.string() + " cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Decoded {
  std::int32_t width = 0, height = 0;
  std::string pixels;  // uint8 [height, width, 3]
};

// A binary PPM with 8 bits a channel and no comment.
Decoded decoded_ppm(const std::filesystem::path& path) {
  const std::string bytes = bytes_of(path);
  Decoded image;
  int depth = 0, header = 0;
  if (std::sscanf(bytes.c_str(), "P6 %d %d %d%n", &image.width, &image.height, &depth, &header) != 3 || depth != 255) {
    throw std::runtime_error(path.string() + " is no binary PPM of 8 bits");
  }
  image.pixels = bytes.substr(static_cast<std::size_t>(header) + 1);
  if (image.pixels.size() != static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3) {
    throw std::runtime_error(path.string() + " is cut off");
  }
  return image;
}

struct Images {
  explicit Images(const std::string& folder) {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() == ".jpg") paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    for (const auto& path : paths) {
      files.push_back(bytes_of(path));
      decoded.push_back(decoded_ppm(std::filesystem::path(path).replace_extension(".ppm")));
    }
  }

  std::vector<torchclip_image> as_files(std::int64_t rows) const {
    std::vector<torchclip_image> out;
    for (std::int64_t i = 0; i < rows; ++i) {
      const auto& file = files[static_cast<std::size_t>(i) % files.size()];
      out.push_back({reinterpret_cast<const std::uint8_t*>(file.data()), 0, 0, 0, file.size()});
    }
    return out;
  }
  std::vector<torchclip_image> as_pixels(std::int64_t rows) const {
    std::vector<torchclip_image> out;
    for (std::int64_t i = 0; i < rows; ++i) {
      const auto& image = decoded[static_cast<std::size_t>(i) % decoded.size()];
      out.push_back({reinterpret_cast<const std::uint8_t*>(image.pixels.data()), image.width, image.height, 3, 0});
    }
    return out;
  }

  std::vector<std::string> files;
  std::vector<Decoded> decoded;
};

struct Encoded {
  Rows rows;
  std::int64_t failed = 0;
  double speed = 0;  // Images a second.
};

Encoded encoded(const Run& run, cuda::Model& model, const std::vector<torchclip_image>& images, std::int64_t dim) {
  const auto count = static_cast<std::int64_t>(images.size());
  Encoded out;
  out.rows.resize(images.size() * static_cast<std::size_t>(dim));
  std::vector<std::uint8_t> failed(images.size());
  const auto encode = [&] {
    std::fill(failed.begin(), failed.end(), std::uint8_t{0});
    model.encode_images(images.data(), count, out.rows.data(), failed.data(), {true, nullptr});
  };
  encode();
  const int times = repeats_for(run, seconds_of(encode));
  out.speed = static_cast<double>(count) * times / seconds_of([&] {
                for (int i = 0; i < times; ++i) encode();
              });
  out.failed = std::count(failed.begin(), failed.end(), 1);
  return out;
}

void add_row(Run& run, const Subject& subject, const char* what, std::int64_t batch, const Encoded& result) {
  std::printf("%-9s bf16 batch %4lld  %9.0f images/s from %s, %lld not decoded\n", subject.shape.name,
              static_cast<long long>(batch), result.speed, what, static_cast<long long>(result.failed));
  run.report.add(Row("jpeg")
                     .text("model", subject.shape.name)
                     .text("from", what)
                     .number("batch", batch)
                     .number("imagesPerSecond", result.speed)
                     .number("failed", result.failed));
}

}  // namespace

void jpeg_stage(Run& run) {
  if (run.options.images.empty()) {
    std::printf("jpeg: skipped, no --images\n");
    run.report.add(Row("jpeg").text("skipped", "no --images"));
    return;
  }
  const Images images(run.options.images);
  if (images.files.empty()) throw std::runtime_error(run.options.images + " holds no JPEG file");
  const auto& subject = run.subject(run.shapes().front());
  const auto dim = subject.shape.embed;
  const auto model = subject.on_gpu("bf16");
  const auto several = static_cast<std::int64_t>(images.files.size());
  for (const std::int64_t batch : {several, std::int64_t{1024}}) {
    if (run.options.dry && batch > several) break;
    const auto pixels = encoded(run, *model, images.as_pixels(batch), dim);
    add_row(run, subject, "decoded images", batch, pixels);
    const auto before = model->counts().engine_jpegs;
    const auto files = encoded(run, *model, images.as_files(batch), dim);
    add_row(run, subject, "JPEG files", batch, files);
    const auto by_engines = model->counts().engine_jpegs - before;
    std::printf("jpeg: hardware engines decoded %llu files\n", static_cast<unsigned long long>(by_engines));
    run.report.add(Row("jpeg").number("batch", batch).number("decodedByEngines", by_engines));
    if (files.failed == batch) {
      constexpr const char* kReason =
          "no file was decoded on the device: nvJPEG is missing (--nvjpeg names its wheel); that every file then fails "
          "alone, for the CPU to decode, is what the tests of the model check";
      std::printf("jpeg: skipped, %s\n", kReason);
      run.report.add(Row("jpeg").text("skipped", kReason));
      return;
    }
    run.report.expect(files.failed == 0, "jpeg", "every ordinary JPEG file is decoded on the device");
    const double cosine = test::least_cosine(pixels.rows, files.rows, dim);
    run.report.add(Row("jpeg").number("batch", batch).number("cosine", cosine));
    run.report.expect(cosine >= 0.99, "jpeg", "files decoded on the device embed as those that another decoder read");
  }
}

}  // namespace torchclip::gpu_check
