#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "measure.h"

namespace torchclip::gpu_check {
namespace {

constexpr std::int64_t kTextLength = 22;  // the median of the SST2 sentences

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::vector<std::int64_t> batches_of(const Options& options) {
  if (options.dry) return {1, 3};
  if (options.quick) return {1, 32, 256, 1024};
  return {1, 8, 32, 128, 256, 512, 1024};
}

int repeats_of(const Options& options, std::int64_t batch) {
  if (options.dry) return 1;
  return batch <= 32 ? 50 : 10;
}

double torch_speed(const core::Json& torch, const std::string& model, std::int64_t batch, const char* kind) {
  for (const auto& row : torch["rows"].items()) {
    if (row["model"].text() == model && static_cast<std::int64_t>(row["batch"].number()) == batch) {
      return row[kind].number();
    }
  }
  return 0;
}

std::string ratio(double ours, double theirs) {
  if (theirs <= 0) return "      -";
  char text[32];
  std::snprintf(text, sizeof text, "%6.2fx", ours / theirs);
  return text;
}

// Images a second from the host's memory to the host's memory.
double speed_from_host(const Subject& subject, cuda::Model& model, std::int64_t batch, const Options& options) {
  const std::int64_t bytes = subject.shape.size * subject.shape.size * 3;
  std::vector<std::uint8_t> pixels;
  for (std::int64_t i = 0; i < batch; ++i) {
    const auto* from = subject.sample.pixels.data() + i % subject.sample.images * bytes;
    pixels.insert(pixels.end(), from, from + bytes);
  }
  std::vector<float> out(static_cast<std::size_t>(batch * subject.shape.embed));
  const auto encode = [&](int times) {
    for (int i = 0; i < times; ++i)
      model.encode_pixels(pixels.data(), batch, core::ImageOutput::embedding, out.data(), nullptr);
  };
  encode(3);
  const int times = options.dry ? 1 : 10;
  return static_cast<double>(batch) * times / seconds_of([&] { encode(times); });
}

struct Batch {
  std::string precision;
  std::int64_t size;
  double images, texts, from_host;  // a second
  double peak_share;                // of the bf16 peak
  double eager, compiled;           // PyTorch's images a second; 0: not measured
};

Batch measure_batch(const Subject& subject, cuda::Model& model, const std::string& precision, std::int64_t size,
                    const Options& options, double peak, const core::Json& torch) {
  const int repeats = repeats_of(options, size);
  Batch out{};
  out.precision = precision;
  out.size = size;
  out.images = static_cast<double>(size) / model.time_images(size, repeats);
  out.texts = static_cast<double>(size) / model.time_texts(size, kTextLength, repeats);
  out.from_host = speed_from_host(subject, model, size, options);
  out.peak_share = out.images * image_flops(subject.shape) / peak;
  if (precision == "bf16") {
    out.eager = torch_speed(torch, subject.shape.name, size, "eager");
    out.compiled = torch_speed(torch, subject.shape.name, size, "compiled");
  }
  return out;
}

void print(const Subject& subject, const Batch& batch, Report& report) {
  std::printf(
      "%-9s %s %5lld  %9.0f images/s  %5.1f %% of the bf16 peak  %9.0f from host memory  %9.0f texts/s  eager %s  "
      "compiled %s\n",
      subject.shape.name, batch.precision.c_str(), static_cast<long long>(batch.size), batch.images,
      100 * batch.peak_share, batch.from_host, batch.texts, ratio(batch.images, batch.eager).c_str(),
      ratio(batch.images, batch.compiled).c_str());
  report.add(Row()
                 .text("model", subject.shape.name)
                 .text("precision", batch.precision)
                 .number("batch", batch.size)
                 .number("imagesPerSecond", batch.images)
                 .number("imagesPerSecondFromHost", batch.from_host)
                 .number("textsPerSecond", batch.texts)
                 .number("peakShare", batch.peak_share)
                 .number("eager", batch.eager)
                 .number("compiled", batch.compiled));
}

void print_memory(const Subject& subject, const cuda::Model& model, const std::string& precision, Report& report) {
  const auto memory = model.memory();
  std::printf("%-9s %s  weights %.0f MB, workspace %.0f MB\n", subject.shape.name, precision.c_str(),
              static_cast<double>(memory.weights) / 1e6, static_cast<double>(memory.workspace) / 1e6);
  report.add(Row()
                 .text("model", subject.shape.name)
                 .text("precision", precision)
                 .number("weightBytes", memory.weights)
                 .number("workspaceBytes", memory.workspace));
}

struct Latency {
  double recorded, unrecorded;  // seconds of one image, with and without CUDA graphs
};

Latency measure_latency(const Subject& subject, const Options& options) {
  const int repeats = options.dry ? 1 : 50;
  setenv("TORCHCLIP_CUDA_GRAPHS", "0", 1);
  const double unrecorded = subject.on_gpu("bf16")->time_images(1, repeats);
  unsetenv("TORCHCLIP_CUDA_GRAPHS");
  const double recorded = subject.on_gpu("bf16")->time_images(1, repeats);
  std::printf("%-9s bf16 latency of one image: %.3f ms recorded, %.3f ms unrecorded\n", subject.shape.name,
              1e3 * recorded, 1e3 * unrecorded);
  return {recorded, unrecorded};
}

void measure_cpu(const Subject& subject, core::Precision precision, double gpu_speed, const Latency& latency,
                 Report& report) {
  const Sample& in = subject.sample;
  const char* label = core::name_of(precision);
  CpuModel cpu(subject, precision);
  std::vector<float> out(static_cast<std::size_t>(in.images * subject.shape.embed));
  const auto encode = [&] { cpu.images(in.pixels.data(), in.images, out.data()); };
  encode();
  const double speed = static_cast<double>(in.images) / seconds_of(encode);
  std::printf("%-9s CPU %s (%s) %8.1f images/s: CUDA bf16 is %.0f times as fast\n", subject.shape.name, label,
              core::kernels()->name, speed, gpu_speed / speed);
  report.add(Row()
                 .text("model", subject.shape.name)
                 .text("device", "cpu")
                 .text("precision", label)
                 .number("batch", in.images)
                 .number("imagesPerSecond", speed)
                 .number("latencyRecorded", latency.recorded)
                 .number("latencyUnrecorded", latency.unrecorded));
}

}  // namespace

void measure_speed(const Subject& subject, const Options& options, double peak, const core::Json& torch,
                   Report& report) {
  double bf16_speed = 0;
  for (const char* precision : {"bf16", "fp16", "fp32"}) {
    const auto model = subject.on_gpu(precision);
    for (const auto size : batches_of(options)) {
      const Batch batch = measure_batch(subject, *model, precision, size, options, peak, torch);
      if (batch.precision == "bf16") bf16_speed = std::max(bf16_speed, batch.images);
      print(subject, batch, report);
    }
    print_memory(subject, *model, precision, report);
  }
  const Latency latency = measure_latency(subject, options);
  for (const auto precision : {core::Precision::fp32, core::Precision::bf16}) {
    measure_cpu(subject, precision, bf16_speed, latency, report);
  }
}

}  // namespace torchclip::gpu_check
