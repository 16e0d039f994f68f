// What is measured of a model, the runners that are compared, and the stages of the program.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "linalg/arena.h"
#include "linalg/matrix.h"
#include "model.h"
#include "model/config/pixel_table.h"
#include "model/cpu/tower.h"
#include "report.h"
#include "shapes.h"

namespace torchclip::gpu_check {

using Rows = std::vector<float>;

struct Options {
  bool all = false;  // Every shape instead of two.
  bool dry = false;  // A small model; the numbers mean nothing.
  std::vector<std::string> stages;
  std::string json = "gpu-check.jsonl";
  std::string images;  // A folder with JPEG files, and each decoded by another program.
};

// A model that is measured. Its weights are made once, for all of its copies.
class Subject {
 public:
  Subject(const Shape& s, bool small);
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  // On the device that this program is built for; with a limit in bytes if the device can be limited, else null.
  std::unique_ptr<cuda::Model> on_gpu(const std::string& precision, std::uint64_t limit = UINT64_MAX) const;
  // What the CPU makes of the sample in float32, normalised, [rows, embed]: the reference.
  const Rows& reference_images() const;
  const Rows& reference_texts() const;
  const core::Weights& weights() const { return weights_; }

  const Shape shape;
  const core::Json config;
  const core::PixelTable table;
  const Sample sample;

 private:
  core::Weights weights_;
  mutable Rows reference_images_, reference_texts_;
};

// The CPU runner's towers.
class CpuModel {
 public:
  CpuModel(const Subject& subject, core::Precision precision, bool has_images = true, bool has_texts = true);
  void images(const std::uint8_t* pixels, std::int64_t rows, float* out) {
    image_->encode(context_, arena_, pixels, core::ImageOutput::embedding, core::Matrix::dense(out, rows, embed_),
                   nullptr);
  }
  void texts(const std::int32_t* ids, std::int64_t rows, float* out) {
    text_->encode(context_, arena_, ids, kContext, core::Matrix::dense(out, rows, embed_), nullptr);
  }

 private:
  core::ThreadPool pool_;
  core::Context context_;
  core::Arena arena_;
  std::int64_t embed_;
  std::unique_ptr<core::ImageTower> image_;
  std::unique_ptr<core::TextTower> text_;
};

// What all stages share.
struct Run {
  const Options& options;
  Report& report;

  // The shapes to measure: ViT-B/32 and L/14, or all; in a dry run a small one.
  std::vector<Shape> shapes() const;
  Subject& subject(const Shape& shape);
  // Whether the device multiplies FP8; a row says so where it does not.
  bool has_fp8();
  // FLOP/s of bf16 products and bytes/s of a kernel that reads and writes, as this device does them; measured once.
  double flops_peak();
  double bytes_peak();

  std::map<std::string, std::unique_ptr<Subject>> subjects = {};
  double measured_flops = 0, measured_bytes = 0;
  bool asked_fp8 = false;
};

// The stages, in files of their names.
void model_stage(Run& run);   // speed.cpp, accuracy.cpp, roofline.cpp, cpu_speed.cpp
void host_stage(Run& run);    // host.cpp: from the host's memory; sharing.cpp: two models at once, out of memory
void texts_stage(Run& run);   // texts.cpp: texts of mixed lengths
void search_stage(Run& run);  // search.cpp: top-k
void jpeg_stage(Run& run);    // images.cpp: JPEG files and images of any sizes

// Parts of model_stage. Differences from the CPU in float32, at batches of one and of several passes.
void check_accuracy(Run& run, const Subject& subject, cuda::Model& model, const std::string& precision);
// FLOPs, bytes and time of each component of a pass.
void measure_components(Run& run, const Subject& subject);
// The CPU's images and texts a second.
void measure_cpu(Run& run, const Subject& subject);

// Parts of host_stage.
void measure_two_models(Run& run, const Subject& subject);
void measure_out_of_memory(Run& run, const Subject& subject);

// Does a part of a stage. An exception is a failure of that part alone; `what` names it.
void attempt(Run& run, const std::string& stage, const std::string& what, const std::function<void()>& work);

// Memory of the device that no process holds, and all of it, in bytes; zeros where the process has no CUDA.
struct DeviceMemory {
  std::size_t free = 0, total = 0;
};
DeviceMemory device_memory();

// Repeats the rows of a sample, of `width` elements each, up to `rows`.
template <typename T>
std::vector<T> repeated(const std::vector<T>& sample, std::int64_t width, std::int64_t rows) {
  std::vector<T> out;
  const auto have = static_cast<std::int64_t>(sample.size()) / width;
  for (std::int64_t i = 0; i < rows; ++i) {
    const auto from = sample.begin() + i % have * width;
    out.insert(out.end(), from, from + width);
  }
  return out;
}

// Repeats the sample's images (texts) up to `rows`.
std::vector<std::uint8_t> repeated_pixels(const Subject& subject, std::int64_t rows);
std::vector<std::int32_t> repeated_ids(const Subject& subject, std::int64_t rows);

// Seconds of a call.
double seconds_of(const std::function<void()>& work);
// Repetitions of something that takes `seconds`, for about `budget` seconds in all; 1 in a dry run.
int repeats_for(const Run& run, double seconds, double budget = 0.4);
// The share of the sorted times below which `share` of them lie.
double percentile(std::vector<double> times, double share);

}  // namespace torchclip::gpu_check
