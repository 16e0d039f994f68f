#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "measure.h"

namespace torchclip::gpu_check {
namespace {

constexpr std::int64_t kTextLength = 22;  // the median of the SST2 sentences

std::vector<std::pair<std::string, std::vector<std::int64_t>>> batches_of(Run& run) {
  using Batches = std::vector<std::int64_t>;
  std::vector<std::pair<std::string, Batches>> all{
      {"bf16", {1, 8, 32, 64, 256, 1024}}, {"fp16", {256, 1024}}, {"fp32", {32}}};
  if (run.has_fp8()) all.emplace_back("fp8", Batches{1, 64, 256, 1024});
  if (run.options.dry) {
    for (auto& [precision, batches] : all) batches = precision == "bf16" ? Batches{1, 3} : Batches{3};
  }
  return all;
}

// Images and texts that the device holds already.
double measure_batch(Run& run, const Subject& subject, cuda::Model& model, const std::string& precision,
                     std::int64_t batch) {
  const int repeats = repeats_for(run, model.time_images(batch, 1));
  const double images = static_cast<double>(batch) / model.time_images(batch, repeats);
  const double texts = static_cast<double>(batch) / model.time_texts(batch, kTextLength, repeats);
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
  return images;
}

void print_memory(Run& run, const Subject& subject, const cuda::Model& model, const std::string& precision) {
  const auto memory = model.memory();
  const auto counts = model.counts();
  std::printf(
      "%-9s %s  weights %.0f MB, workspace %.0f MB, reserved by the process %.0f MB; %llu graphs, %llu timed GEMMs, "
      "%llu shapes of short attention\n",
      subject.shape.name, precision.c_str(), static_cast<double>(memory.weights) / 1e6,
      static_cast<double>(memory.workspace) / 1e6, static_cast<double>(counts.reserved_bytes) / 1e6,
      static_cast<unsigned long long>(counts.graphs.captured), static_cast<unsigned long long>(counts.timed_gemms),
      static_cast<unsigned long long>(counts.short_attentions));
  run.report.add(Row("memory")
                     .text("model", subject.shape.name)
                     .text("precision", precision)
                     .number("weightBytes", memory.weights)
                     .number("workspaceBytes", memory.workspace)
                     .number("reservedBytes", counts.reserved_bytes)
                     .number("graphs", counts.graphs.captured)
                     .number("refusedGraphs", counts.graphs.refused)
                     .number("timedGemms", counts.timed_gemms)
                     .number("shortAttentions", counts.short_attentions));
}

// The time of single images from and to the host's memory.
void measure_latency(Run& run, const Subject& subject, bool graphs) {
  const int calls = run.options.dry ? 3 : 200;
  if (!graphs) setenv("TORCHCLIP_CUDA_GRAPHS", "0", 1);
  std::unique_ptr<cuda::Model> model;
  const double load = seconds_of([&] { model = subject.on_gpu("bf16"); });
  unsetenv("TORCHCLIP_CUDA_GRAPHS");
  Rows out(static_cast<std::size_t>(subject.shape.embed));
  const auto encode = [&] { model->encode_pixels(subject.sample.pixels.data(), 1, out.data(), {true, nullptr}); };
  const double warm_up = seconds_of([&] {
    for (int i = 0; i < 3; ++i) encode();
  });
  std::vector<double> times;
  for (int i = 0; i < calls; ++i) times.push_back(1e3 * seconds_of(encode));
  const auto counts = model->counts().graphs;
  const double median = percentile(times, 0.5), slow = percentile(times, 0.99);
  std::printf("%-9s bf16 one image, %s: p50 %.3f ms, p99 %.3f ms; loaded in %.2f s, first three calls %.2f s\n",
              subject.shape.name, counts.captured ? "captured" : "uncaptured", median, slow, load, warm_up);
  run.report.add(Row("latency")
                     .text("model", subject.shape.name)
                     .text("precision", "bf16")
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

void measure_cpu(Run& run, const Subject& subject, core::Precision precision, double gpu_speed) {
  const Sample& in = subject.sample;
  const char* label = core::name_of(precision);
  CpuModel cpu(subject, precision);
  Rows out(static_cast<std::size_t>(in.images * subject.shape.embed));
  const auto encode = [&] { cpu.images(in.pixels.data(), in.images, out.data()); };
  encode();
  const double speed = static_cast<double>(in.images) / seconds_of(encode);
  std::printf("%-9s CPU %s (%s) %8.1f images/s: CUDA bf16 is %.0f times as fast\n", subject.shape.name, label,
              core::kernels()->name, speed, gpu_speed / speed);
  run.report.add(Row("speed")
                     .text("model", subject.shape.name)
                     .text("device", "cpu")
                     .text("isa", core::kernels()->name)
                     .text("precision", label)
                     .number("batch", in.images)
                     .number("imagesPerSecond", speed)
                     .number("cudaTimesAsFast", gpu_speed / speed));
}

}  // namespace

void measure_speed(Run& run, const Subject& subject) {
  double best = 0;
  for (const auto& [precision, batches] : batches_of(run)) {
    const auto model = subject.on_gpu(precision);
    for (const auto batch : batches) {
      const double images = measure_batch(run, subject, *model, precision, batch);
      if (precision == "bf16") best = std::max(best, images);
    }
    print_memory(run, subject, *model, precision);
  }
  for (const bool graphs : {true, false}) measure_latency(run, subject, graphs);
  for (const auto precision : {core::Precision::fp32, core::Precision::bf16})
    measure_cpu(run, subject, precision, best);
}

void model_stage(Run& run) {
  for (const auto& shape : run.shapes()) {
    const auto& subject = run.subject(shape);
    measure_accuracy(run, subject);
    measure_speed(run, subject);
    measure_components(run, subject);
  }
}

}  // namespace torchclip::gpu_check
