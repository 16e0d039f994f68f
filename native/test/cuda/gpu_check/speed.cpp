#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "components.h"
#include "measure.h"
#include "test_device.h"

namespace torchclip::gpu_check {
namespace {

// A precision and the batches that it is measured with, the most important first.
using Batches = std::vector<std::int64_t>;
std::vector<std::pair<std::string, Batches>> precisions_of(Run& run) {
  std::vector<std::pair<std::string, Batches>> all{{"bf16", {1, 8, 32, 64, 256, 1024}}};
  if (run.has_fp8()) all.emplace_back("fp8", Batches{1, 64, 256, 1024});
  all.emplace_back("fp16", Batches{256, 1024});
  all.emplace_back("fp32", Batches{32});
  if (run.options.dry) {
    for (auto& [precision, batches] : all) batches = precision == "bf16" ? Batches{1, 3} : Batches{3};
  }
  return all;
}

// Images and texts that the device holds already.
void measure_batch(Run& run, const Subject& subject, cuda::Model& model, const std::string& precision,
                   std::int64_t batch) {
  const double each = model.time_images(batch, 1), each_text = model.time_texts(batch, kTextLength, 1);
  const double images = static_cast<double>(batch) / model.time_images(batch, repeats_for(run, each));
  const double texts =
      static_cast<double>(batch) / model.time_texts(batch, kTextLength, repeats_for(run, each_text, 0.2));
  const double share = images * image_flops(subject.shape) / run.flops_peak();
  std::printf("%-9s %s batch %4lld  %9.0f images/s  %5.1f %% of the bf16 peak  %9.0f texts/s\n", subject.shape.name,
              precision.c_str(), static_cast<long long>(batch), images, 100 * share, texts);
  run.report.add(Row("speed")
                     .text("model", subject.shape.name)
                     .text("device", "cuda")
                     .text("precision", precision)
                     .number("batch", batch)
                     .number("imagesPerSecond", images)
                     .number("textsPerSecond", texts)
                     .number("peakShare", share));
}

// What the model holds after its largest batch. The device's cache was empty before the model was loaded, and gives
// nothing back before another one empties it: what is taken now is the largest that was.
void report_memory(Run& run, const Subject& subject, const cuda::Model& model, const std::string& precision,
                   const DeviceMemory& before) {
  const auto memory = model.memory();
  const auto counts = model.counts();
  const auto now = device_memory();
  const auto taken = static_cast<std::int64_t>(before.free) - static_cast<std::int64_t>(now.free);
  std::printf(
      "%-9s %s  weights %.0f MB, workspace %.0f MB, taken of the device %.0f MB, reserved by the process %.0f MB; %llu "
      "graphs, %llu timed GEMMs, %llu shapes of short attention, %llu of GEMMs fused with their activation\n",
      subject.shape.name, precision.c_str(), static_cast<double>(memory.weights) / 1e6,
      static_cast<double>(memory.workspace) / 1e6, static_cast<double>(taken) / 1e6,
      static_cast<double>(counts.reserved_bytes) / 1e6, static_cast<unsigned long long>(counts.graphs.captured),
      static_cast<unsigned long long>(counts.timed_gemms), static_cast<unsigned long long>(counts.short_attentions),
      static_cast<unsigned long long>(counts.fused_gemms));
  run.report.add(Row("memory")
                     .text("model", subject.shape.name)
                     .text("precision", precision)
                     .number("weightBytes", memory.weights)
                     .number("workspaceBytes", memory.workspace)
                     .number("takenBytes", taken)
                     .number("freeBytes", std::uint64_t{now.free})
                     .number("totalBytes", std::uint64_t{now.total})
                     .number("reservedBytes", counts.reserved_bytes)
                     .number("graphs", counts.graphs.captured)
                     .number("refusedGraphs", counts.graphs.refused)
                     .number("timedGemms", counts.timed_gemms)
                     .number("shortAttentions", counts.short_attentions)
                     .number("fusedGemms", counts.fused_gemms));
}

// One model in one precision: accuracy, speed, memory.
void measure_precision(Run& run, const Subject& subject, const std::string& precision, const Batches& batches) {
  cuda::test_device()->free_cache();
  const auto before = device_memory();
  const auto model = subject.on_gpu(precision);
  check_accuracy(run, subject, *model, precision);
  const std::string what = std::string(subject.shape.name) + " " + precision + " batch ";
  for (const auto batch : batches) {
    attempt(run, "speed", what + std::to_string(batch), [&] { measure_batch(run, subject, *model, precision, batch); });
  }
  report_memory(run, subject, *model, precision, before);
}

std::unique_ptr<cuda::Model> loaded(const Subject& subject, bool graphs) {
  if (!graphs) setenv("TORCHCLIP_CUDA_GRAPHS", "0", 1);
  auto model = subject.on_gpu("bf16");
  unsetenv("TORCHCLIP_CUDA_GRAPHS");
  return model;
}

// The time of single images from and to the host's memory.
void measure_latency(Run& run, const Subject& subject, bool graphs) {
  const int calls = run.options.dry ? 3 : 200;
  std::unique_ptr<cuda::Model> model;
  const double load = seconds_of([&] { model = loaded(subject, graphs); });
  Rows out(static_cast<std::size_t>(subject.shape.embed));
  const auto encode = [&] { model->encode_pixels(subject.sample.pixels.data(), 1, out.data(), {true, nullptr}); };
  const double warm_up = seconds_of([&] {
    for (int i = 0; i < 3; ++i) encode();
  });
  std::vector<double> times(static_cast<std::size_t>(calls));
  for (auto& time : times) time = 1e3 * seconds_of(encode);
  const auto counts = model->counts().graphs;
  const double median = percentile(times, 0.5), slow = percentile(times, 0.99);
  std::printf("%-9s bf16 one image, %s: p50 %.3f ms, p99 %.3f ms; loaded in %.2f s, first three calls %.2f s\n",
              subject.shape.name, counts.captured ? "captured" : "uncaptured", median, slow, load, warm_up);
  run.report.add(Row("latency")
                     .text("model", subject.shape.name)
                     .text("precision", "bf16")
                     .number("batch", std::int64_t{1})
                     .flag("captured", counts.captured > 0)
                     .number("p50Ms", median)
                     .number("p99Ms", slow)
                     .number("loadSeconds", load)
                     .number("firstCallsSeconds", warm_up));
  if (graphs) {
    run.report.expect(counts.captured > 0, "latency",
                      std::string(subject.shape.name) + ": single images are captured " + counts.problem);
  }
}

// The seconds from the load of a model until its calls take no longer than later ones (a fifth more at most): plans of
// GEMMs are timed, memory grows and small passes are captured on the way. The process has used the device before.
void measure_start(Run& run, const Subject& subject) {
  const std::int64_t batch = run.options.dry ? 3 : 256;
  constexpr std::size_t kCalls = 12;
  const auto pixels = repeated_pixels(subject, batch);
  Rows out(static_cast<std::size_t>(batch * subject.shape.embed));
  std::unique_ptr<cuda::Model> model;
  double until_steady = seconds_of([&] { model = loaded(subject, true); });
  const double load = until_steady;
  std::vector<double> times(kCalls);
  for (auto& time : times) {
    time = seconds_of([&] { model->encode_pixels(pixels.data(), batch, out.data(), {true, nullptr}); });
  }
  const double steady = percentile({times.begin() + kCalls / 2, times.end()}, 0.5);
  std::int64_t calls = 0;
  for (; times[static_cast<std::size_t>(calls)] > 1.2 * steady; ++calls) {
    until_steady += times[static_cast<std::size_t>(calls)];
  }
  std::printf("%-9s bf16 batch %lld: loaded in %.2f s, first call %.3f s, steady (%.4f s) after %lld calls, %.2f s\n",
              subject.shape.name, static_cast<long long>(batch), load, times[0], steady, static_cast<long long>(calls),
              until_steady);
  run.report.add(Row("start")
                     .text("model", subject.shape.name)
                     .text("precision", "bf16")
                     .number("batch", batch)
                     .number("loadSeconds", load)
                     .number("firstCallSeconds", times[0])
                     .number("steadyCallSeconds", steady)
                     .number("callsUntilSteady", calls)
                     .number("secondsUntilSteady", until_steady));
}

}  // namespace

void model_stage(Run& run) {
  for (const auto& shape : run.shapes()) {
    const std::string name = shape.name;
    const auto& subject = run.subject(shape);
    for (const auto& [precision, batches] : precisions_of(run)) {
      attempt(run, "model", name + " " + precision,
              [&, &precision = precision, &batches = batches] { measure_precision(run, subject, precision, batches); });
    }
    attempt(run, "start", name, [&] { measure_start(run, subject); });
    for (const bool graphs : {true, false}) {
      attempt(run, "latency", name, [&] { measure_latency(run, subject, graphs); });
    }
    measure_components(run, subject);
  }
  // The CPU's part, which takes the longest, is the last.
  for (const auto& shape : run.shapes()) {
    attempt(run, "speed", std::string(shape.name) + " on the CPU", [&] { measure_cpu(run, run.subject(shape)); });
  }
}

}  // namespace torchclip::gpu_check
