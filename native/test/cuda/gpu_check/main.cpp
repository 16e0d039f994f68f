// The part of scripts/gpu-check that measures: CUDA against the CPU runner (differences, cosines, the same first
// label), images and texts a second, share of the device's own matrix speed, latency with and without recorded passes,
// memory.
//   gpu_check [--quick] [--dry-run] [--torch FILE] [--json FILE]
// --torch: what scripts/gpu-check.py wrote, for the columns of PyTorch. --dry-run: a small model on the device
// that this is built for, to prove the program; its numbers mean nothing.
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "measure.h"
#include "peak.h"
#include "test_device.h"

namespace torchclip::gpu_check {
namespace {

core::Json torch_results(const std::string& path) {
  if (path.empty()) return {};
  std::ifstream file(path);
  return core::Json::parse(std::string(std::istreambuf_iterator<char>(file), {}));
}

std::vector<Shape> shapes_of(const Options& options) {
  if (options.dry) return {kSmall};
  if (options.quick) return {kShapes[0], kShapes[2]};
  return {std::begin(kShapes), std::end(kShapes)};
}

void write(const std::string& path, const std::string& json) {
  core::Json::parse(json);  // it is valid
  const std::string temporary = path + ".tmp";
  std::ofstream(temporary) << json;
  if (std::rename(temporary.c_str(), path.c_str()) != 0) throw std::runtime_error(path + " cannot be written");
  std::printf("\n%s\n", path.c_str());
}

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

void run(const Options& options) {
  const core::Json torch = torch_results(options.torch);
  const double mean[] = {0.48145466, 0.4578275, 0.40821073}, deviation[] = {0.26862954, 0.26130258, 0.27577711};
  const core::PixelTable table(mean, deviation);
  const auto device = cuda::test_device();
  const double peak = cuda::gemm_peak(*device, options.dry ? 32 : 8192);
  std::printf("%s: bf16 products at %.0f TFLOP/s%s\n\n", device->name().c_str(), peak / 1e12,
              options.dry ? " (a dry run: no number here means anything)" : "");
  Report report;
  std::ostringstream peak_text;
  peak_text << peak;
  report.field("device", quoted(device->name()));
  report.field("dryRun", options.dry ? "true" : "false");
  report.field("bf16Peak", peak_text.str());
  report.field("torch", quoted(torch["torch"].text("none")));
  const auto shapes = shapes_of(options);
  report.begin_rows("accuracy");
  for (const auto& shape : shapes) measure_accuracy(Subject(shape, table, options.dry), report);
  report.end_rows();
  std::printf("\n");
  report.begin_rows("speed");
  for (const auto& shape : shapes) {
    measure_speed(Subject(shape, table, options.dry), options, peak, torch, report);
  }
  report.end_rows();
  write(options.json, report.json());
}

// Whether the arguments are understood.
bool read_arguments(int count, char** arguments, Options& options) {
  for (int i = 1; i < count; ++i) {
    const std::string name = arguments[i];
    const bool has_value = i + 1 < count;
    if (name == "--quick") {
      options.quick = true;
    } else if (name == "--dry-run") {
      options.dry = true;
    } else if (name == "--torch" && has_value) {
      options.torch = arguments[++i];
    } else if (name == "--json" && has_value) {
      options.json = arguments[++i];
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace
}  // namespace torchclip::gpu_check

int main(int count, char** arguments) {
  torchclip::gpu_check::Options options;
  if (!torchclip::gpu_check::read_arguments(count, arguments, options)) {
    std::fprintf(stderr, "usage: %s [--quick] [--dry-run] [--torch FILE] [--json FILE]\n", arguments[0]);
    return 2;
  }
  try {
    torchclip::gpu_check::run(options);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
