// The CPU's speed, with the batches that the device was measured with.
#include <cstdio>

#include "base/item.h"
#include "components.h"
#include "measure.h"

namespace torchclip::gpu_check {
namespace {

constexpr double kMostSeconds = 3;  // of one call; larger batches are left out

// A tower on the CPU that encodes `rows` sequences.
struct Encoder {
  const char* speed;  // the name of the result
  std::function<void(std::int64_t rows)> encode;
};

void measure_batches(Run& run, const Subject& subject, const char* precision, const Encoder& encoder) {
  const std::vector<std::int64_t> batches =
      run.options.dry ? std::vector<std::int64_t>{1} : std::vector<std::int64_t>{1, 32, 256};
  double each = 0;  // seconds of a sequence in the batch before
  for (const auto batch : batches) {
    if (each * static_cast<double>(batch) > kMostSeconds) break;
    const auto encode = [&] { encoder.encode(batch); };
    const double first = seconds_of(encode);
    const int calls = first > 0.5 ? 1 : repeats_for(run, first, 0.3);
    const double seconds = seconds_of([&] {
      for (int i = 0; i < calls; ++i) encode();
    });
    each = seconds / calls / static_cast<double>(batch);
    std::printf("%-9s CPU %s (%s) batch %4lld  %8.1f %s\n", subject.shape.name, precision, core::kernels()->name,
                static_cast<long long>(batch), 1 / each, encoder.speed);
    run.report.add(Row("speed")
                       .text("model", subject.shape.name)
                       .text("device", "cpu")
                       .text("isa", core::kernels()->name)
                       .text("precision", precision)
                       .number("batch", batch)
                       .number(encoder.speed, 1 / each));
  }
}

}  // namespace

// Texts have the length of those that the device was measured with.
void measure_cpu(Run& run, const Subject& subject) {
  constexpr std::int64_t kMost = 256;
  const auto pixels = repeated_pixels(subject, kMost);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(kMost * kContext), 0);
  for (std::int64_t r = 0; r < kMost; ++r) {
    for (std::int64_t i = 0; i < kTextLength; ++i) core::item(ids, r * kContext + i) = 1;
    core::item(ids, r * kContext + kTextLength - 1) = static_cast<std::int32_t>(kVocabulary - 1);
  }
  Rows out(static_cast<std::size_t>(kMost * subject.shape.embed));
  for (const auto precision : {core::Precision::fp32, core::Precision::bf16}) {
    CpuModel cpu(subject, precision);
    const char* name = core::name_of(precision);
    measure_batches(run, subject, name,
                    {"imagesPerSecond", [&](std::int64_t rows) { cpu.images(pixels.data(), rows, out.data()); }});
    measure_batches(run, subject, name,
                    {"textsPerSecond", [&](std::int64_t rows) { cpu.texts(ids.data(), rows, out.data()); }});
  }
}

}  // namespace torchclip::gpu_check
