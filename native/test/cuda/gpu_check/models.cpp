#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <mutex>
#include <utility>

#include "kernels.h"
#include "measure.h"
#include "peak.h"
#include "test_device.h"

namespace torchclip::gpu_check {
namespace {

const core::PixelTable& pixel_table() {
  static const double mean[] = {0.48145466, 0.4578275, 0.40821073};
  static const double deviation[] = {0.26862954, 0.26130258, 0.27577711};
  static const core::PixelTable table(mean, deviation);
  return table;
}

// Weights that are made when they are first asked for.
core::Weights kept(core::Weights make) {
  struct Store {
    std::mutex mutex;
    std::map<std::string, core::Tensor> tensors;
  };
  return [make = std::move(make), store = std::make_shared<Store>()](const std::string& name) {
    std::lock_guard lock(store->mutex);
    auto at = store->tensors.find(name);
    if (at == store->tensors.end()) at = store->tensors.emplace(name, make(name)).first;
    return at->second;
  };
}

void normalize(Rows& rows, std::int64_t dim) {
  for (auto row = rows.begin(); row != rows.end(); row += dim) {
    double squares = 0;
    for (auto x = row; x != row + dim; ++x) squares += static_cast<double>(*x) * *x;
    for (auto x = row; x != row + dim; ++x) *x = static_cast<float>(*x / std::sqrt(squares));
  }
}

}  // namespace

Subject::Subject(const Shape& s, bool small)
    : shape(s),
      config(config_of(s)),
      table(pixel_table()),
      sample(sample_of(s, small)),
      weights_(kept(weights_of(s))) {}

std::unique_ptr<cuda::Model> Subject::on_gpu(const std::string& precision, std::uint64_t limit) const {
  auto device = cuda::test_device(limit);
  if (!device) return nullptr;
  const core::Transform transform{static_cast<std::int32_t>(shape.size)};
  const float* pixels = &table.value[0][0];
  return cuda::make_model(std::move(device), {precision, weights_, config, shape.embed, kContext, transform, pixels});
}

const Rows& Subject::reference_images() const {
  if (reference_images_.empty()) {
    reference_images_.resize(static_cast<std::size_t>(sample.images * shape.embed));
    CpuModel(*this, core::Precision::fp32, true, false)
        .images(sample.pixels.data(), sample.images, reference_images_.data());
    normalize(reference_images_, shape.embed);
  }
  return reference_images_;
}

const Rows& Subject::reference_texts() const {
  if (reference_texts_.empty()) {
    reference_texts_.resize(static_cast<std::size_t>(sample.texts * shape.embed));
    CpuModel(*this, core::Precision::fp32, false, true).texts(sample.ids.data(), sample.texts, reference_texts_.data());
    normalize(reference_texts_, shape.embed);
  }
  return reference_texts_;
}

CpuModel::CpuModel(const Subject& subject, core::Precision precision, bool has_images, bool has_texts)
    : pool_(core::thread_count(0)), context_{*core::kernels(), pool_}, embed_(subject.shape.embed) {
  const auto& weights = subject.weights();
  const auto& config = subject.config;
  if (has_images) {
    image_ = core::ImageTower::make(context_, precision, weights, config["image"], embed_, subject.table);
  }
  if (has_texts) text_ = core::TextTower::make(context_, precision, weights, config["text"], embed_);
}

std::vector<Shape> Run::shapes() const {
  if (options.dry) return {kSmall};
  if (options.all) return {std::begin(kShapes), std::end(kShapes)};
  return {kShapes[0], kShapes[2]};
}

Subject& Run::subject(const Shape& shape) {
  auto& subject = subjects[shape.name];
  if (!subject) subject = std::make_unique<Subject>(shape, options.dry);
  return *subject;
}

bool Run::has_fp8() {
  const auto device = cuda::test_device();
  if (!std::exchange(asked_fp8, true) && !device->has_fp8()) {
    std::printf("%s: no products of FP8\n", device->name().c_str());
    report.add(Row("fp8").text("skipped", "the device does not multiply FP8"));
  }
  return device->has_fp8();
}

double Run::flops_peak() {
  if (measured_flops == 0) {
    const auto device = cuda::test_device();
    measured_flops = cuda::gemm_peak(*device, options.dry ? 32 : 8192);
    std::printf("%s: bf16 products at %.0f TFLOP/s%s\n", device->name().c_str(), measured_flops / 1e12,
                options.dry ? " (a dry run: no number here means anything)" : "");
    report.add(Row("peak").text("device", device->name()).number("bf16Flops", measured_flops));
  }
  return measured_flops;
}

double Run::bytes_peak() {
  if (measured_bytes == 0) {
    const auto device = cuda::test_device();
    const std::int64_t rows = options.dry ? 16 : 1 << 19, columns = 1024;
    const auto memory = device->allocate(static_cast<std::size_t>(rows * columns * 2));
    device->fill(memory.get(), 0, static_cast<std::size_t>(rows * columns * 2));
    const double seconds = device->time(options.dry ? 1 : 20, [&] {
      cuda::bias_activation(device->stream(), memory.get(), core::DType::bf16, rows, columns, nullptr, core::DType::f32,
                            cuda::Activation::relu);
    });
    measured_bytes = static_cast<double>(rows * columns) * 4 / seconds;  // each element is read and written
    std::printf("%s: memory at %.2f TB/s\n", device->name().c_str(), measured_bytes / 1e12);
    report.add(Row("peak").text("device", device->name()).number("memoryBytes", measured_bytes));
  }
  return measured_bytes;
}

std::vector<std::uint8_t> repeated_pixels(const Subject& subject, std::int64_t rows) {
  return repeated(subject.sample.pixels, subject.shape.size * subject.shape.size * 3, rows);
}

std::vector<std::int32_t> repeated_ids(const Subject& subject, std::int64_t rows) {
  return repeated(subject.sample.ids, kContext, rows);
}

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int repeats_for(const Run& run, double seconds, double budget) {
  if (run.options.dry) return 1;
  return static_cast<int>(std::clamp(budget / std::max(seconds, 1e-6), 3.0, 200.0));
}

void attempt(Run& run, const std::string& stage, const std::string& what, const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& e) {
    run.report.expect(false, stage, what + " ended early: " + e.what());
  }
}

// The programs of the GPU are linked with CUDA's runtime; those of its model are not.
DeviceMemory device_memory() {
  using GetInfo = int (*)(std::size_t*, std::size_t*);
  const auto get_info = reinterpret_cast<GetInfo>(dlsym(RTLD_DEFAULT, "cudaMemGetInfo"));
  DeviceMemory memory;
  if (!get_info || get_info(&memory.free, &memory.total) != 0) return {};
  return memory;
}

double percentile(std::vector<double> times, double share) {
  std::sort(times.begin(), times.end());
  const auto at = static_cast<std::size_t>(share * static_cast<double>(times.size()));
  return times[std::min(at, times.size() - 1)];
}

}  // namespace torchclip::gpu_check
