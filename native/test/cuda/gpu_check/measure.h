// What is measured of a model, and the runners that are compared.
#pragma once

#include <cstdint>
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

struct Options {
  bool quick = false, dry = false;
  std::string torch, json = "gpu-check.json";
};

// A model that is measured.
struct Subject {
  Subject(const Shape& s, const core::PixelTable& pixel_table, bool small)
      : shape(s), config(config_of(s)), table(pixel_table), sample(sample_of(s, small)) {}

  // On the device that this program is built for.
  std::unique_ptr<cuda::Model> on_gpu(const std::string& precision) const;

  const Shape& shape;
  const core::Json config;
  const core::PixelTable& table;
  const Sample sample;
};

// The CPU runner's towers.
class CpuModel {
 public:
  CpuModel(const Subject& subject, core::Precision precision);
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

// Differences from the CPU runner in fp32, cosines, and the share of images with the same first label.
void measure_accuracy(const Subject& subject, Report& report);

// Images and texts a second, latency and memory. `peak`: FLOP/s of bf16 products; `torch`: what scripts/gpu-check.py
// wrote, or null.
void measure_speed(const Subject& subject, const Options& options, double peak, const core::Json& torch,
                   Report& report);

}  // namespace torchclip::gpu_check
