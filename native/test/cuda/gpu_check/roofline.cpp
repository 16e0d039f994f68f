// What each component of a pass costs: its FLOPs and bytes, its time, and how much of the device's own peak of the two
// it reaches. The peak of FLOPs is that of bf16, of which products of FP8 may reach more than the whole.
#include <cstdio>

#include "components.h"
#include "measure.h"
#include "test_device.h"

namespace torchclip::gpu_check {
namespace {

// A tower whose components are measured.
struct Tower {
  const char* name;  // "image" or "text", as its sequences are called
  const Shape& shape;
  Components& components;
};

// Microseconds of a component for each sequence of a pass.
double measure_component(Run& run, const Tower& tower, const Component& c) {
  auto& device = tower.components.device();
  const double seconds = device.time(repeats_for(run, device.time(1, c.work), 0.15), c.work);
  const double flops_share = c.flops / seconds / run.flops_peak(), bytes_share = c.bytes / seconds / run.bytes_peak();
  const double each = 1e6 * seconds * c.times / static_cast<double>(tower.components.rows());
  std::printf("  %-16s %3.0f x %8.1f us  %7.3f us each  %6.1f GFLOP (%3.0f %%)  %7.1f MB (%3.0f %%)\n", c.name, c.times,
              1e6 * seconds, each, c.flops / 1e9, 100 * flops_share, c.bytes / 1e6, 100 * bytes_share);
  run.report.add(Row("components")
                     .text("model", tower.shape.name)
                     .text("tower", tower.name)
                     .text("component", c.name)
                     .number("times", c.times)
                     .number("microseconds", 1e6 * seconds)
                     .number("microsecondsEach", each)
                     .number("flops", c.flops)
                     .number("bytes", c.bytes)
                     .number("flopsShare", flops_share)
                     .number("bytesShare", bytes_share));
  return each;
}

void measure_tower(Run& run, const Tower& tower, const std::vector<Component>& embedding) {
  auto& c = tower.components;
  std::printf("%-9s bf16 components of a pass of %lld %ss\n", tower.shape.name, static_cast<long long>(c.rows()),
              tower.name);
  double total = 0;
  for (const auto& parts : {embedding, c.layers(), c.last_layers()}) {
    for (const auto& part : parts) total += measure_component(run, tower, part);
  }
  std::printf("  %-16s %.3f us each: %.0f %ss/s without anything between\n", "together", total, 1e6 / total,
              tower.name);
  run.report.add(Row("components")
                     .text("model", tower.shape.name)
                     .text("tower", tower.name)
                     .text("component", "together")
                     .number("sequences", c.rows())
                     .number("microsecondsEach", total));
  const bool by_one = c.device().counts().fused_gemms > 0;
  std::printf("  %s: %s\n", kActivated, by_one ? "one kernel of cuDNN's" : "two kernels");
  run.report.add(Row("activatedGemm").text("model", tower.shape.name).text("tower", tower.name).flag("fused", by_one));
  for (const auto& part : c.by_two_kernels()) measure_component(run, tower, part);
  if (!c.device().has_fp8()) return;
  for (const auto& part : c.fp8_layers()) measure_component(run, tower, part);
}

}  // namespace

void measure_components(Run& run, const Subject& subject) {
  const auto device = cuda::test_device();
  const auto& shape = subject.shape;
  const std::int64_t rows = run.options.dry ? 2 : 0;
  attempt(run, "components", std::string(shape.name) + " image components", [&] {
    Components images(image_size_of(shape), *device, rows);
    measure_tower(run, {"image", shape, images}, image_embedding(shape, images));
  });
  attempt(run, "components", std::string(shape.name) + " text components", [&] {
    Components texts(text_size_of(shape), *device, rows);
    measure_tower(run, {"text", shape, texts}, text_embedding(shape, texts));
  });
}

}  // namespace torchclip::gpu_check
