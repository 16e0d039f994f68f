// Images from the host's memory to the host's memory, two models at once, and a device without free memory.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <thread>

#include "base/error.h"
#include "measure.h"
#include "model_inputs.h"
#include "test_device.h"

namespace torchclip::gpu_check {
namespace {

// Encodes the batch again and again.
struct Caller {
  Caller(const Subject& s, const std::string& precision, std::int64_t rows)
      : subject(s),
        batch(rows),
        model(s.on_gpu(precision)),
        pixels(repeated_pixels(s, rows)),
        out(static_cast<std::size_t>(rows * s.shape.embed)) {}

  void encode() { model->encode_pixels(pixels.data(), batch, out.data(), {true, nullptr}); }
  // Images a second of `calls` calls.
  double speed(int calls) {
    const double seconds = seconds_of([&] {
      for (int i = 0; i < calls; ++i) encode();
    });
    return static_cast<double>(batch) * calls / seconds;
  }

  const Subject& subject;
  std::int64_t batch;
  std::unique_ptr<cuda::Model> model;
  std::vector<std::uint8_t> pixels;
  Rows out;
};

void measure_from_host(Run& run, const Subject& subject) {
  const std::vector<std::int64_t> batches =
      run.options.dry ? std::vector<std::int64_t>{3} : std::vector<std::int64_t>{1, 8, 32, 64, 256, 1024, 4096};
  for (const auto batch : batches) {
    Caller caller(subject, "bf16", batch);
    const double warm = seconds_of([&] { caller.speed(run.options.dry ? 1 : 3); });
    const double speed = caller.speed(repeats_for(run, warm / 3));
    std::printf("%-9s bf16 batch %4lld  %9.0f images/s from host memory\n", subject.shape.name,
                static_cast<long long>(batch), speed);
    run.report.add(Row("host")
                       .text("model", subject.shape.name)
                       .text("precision", "bf16")
                       .number("batch", batch)
                       .number("imagesPerSecond", speed));
  }
}

// Two models on threads of their own: both give what they give alone.
void measure_two_models(Run& run, const Subject& subject) {
  const std::int64_t batch = run.options.dry ? 2 : 256;
  Caller one(subject, "bf16", batch), other(subject, "fp16", batch);
  one.encode();
  other.encode();
  const Rows alone = one.out, other_alone = other.out;
  const int calls = run.options.dry ? 1 : 30;
  double speeds[2] = {};
  if (cuda::is_host_device()) {  // which one thread at a time may use
    speeds[1] = other.speed(calls);
    speeds[0] = one.speed(calls);
  } else {
    std::thread beside([&] { speeds[1] = other.speed(calls); });
    speeds[0] = one.speed(calls);
    beside.join();
  }
  const double difference =
      std::max(test::largest_difference(alone, one.out), test::largest_difference(other_alone, other.out));
  std::printf("%-9s two models at once, batch %lld: %.0f + %.0f images/s\n", subject.shape.name,
              static_cast<long long>(batch), speeds[0], speeds[1]);
  run.report.add(Row("host")
                     .text("model", subject.shape.name)
                     .text("what", "two models at once")
                     .number("batch", batch)
                     .number("imagesPerSecond", speeds[0])
                     .number("otherImagesPerSecond", speeds[1])
                     .number("largestDifference", difference));
  run.report.expect(difference <= 1e-3, "host",
                    std::string(subject.shape.name) + ": two models at once give what each gives alone");
}

// Takes the device's memory down to a few MB.
std::vector<cuda::Memory> take_memory(cuda::Device& device) {
  constexpr std::size_t kLargest = std::size_t{16} << 30, kLeft = std::size_t{4} << 20;
  std::vector<cuda::Memory> taken;
  for (std::size_t bytes = kLargest; bytes >= kLeft;) {
    try {
      taken.push_back(device.allocate(bytes));
    } catch (const std::exception&) {
      bytes /= 2;
    }
  }
  return taken;
}

// A call on a device without free memory ends, by smaller passes or as out of memory; the model works on afterwards.
void measure_out_of_memory(Run& run, const Subject& subject) {
  if (cuda::is_host_device()) return;  // cuda_model_test does it with a limit
  Caller caller(subject, "bf16", 256);
  caller.encode();
  const Rows expected = caller.out;
  caller.model = subject.on_gpu("bf16");  // without a workspace so far
  std::string outcome = "encoded in smaller passes";
  {
    const auto device = cuda::test_device();
    const auto taken = take_memory(*device);
    try {
      caller.encode();
    } catch (...) {
      const auto failure = core::current_failure();
      outcome = failure.status == TORCHCLIP_E_OUT_OF_MEMORY ? "E_OUT_OF_MEMORY" : failure.message;
      run.report.expect(failure.status == TORCHCLIP_E_OUT_OF_MEMORY, "host",
                        "a full device is E_OUT_OF_MEMORY, not: " + failure.message);
    }
  }
  caller.encode();
  caller.encode();
  const double difference = test::largest_difference(expected, caller.out);
  std::printf("%-9s a full device: %s; afterwards it differs by %.1e\n", subject.shape.name, outcome.c_str(),
              difference);
  run.report.add(Row("host")
                     .text("model", subject.shape.name)
                     .text("what", "a full device")
                     .text("outcome", outcome)
                     .number("largestDifference", difference));
  run.report.expect(difference <= 1e-2, "host",
                    std::string(subject.shape.name) + ": a model works on after its device was full");
}

}  // namespace

void host_stage(Run& run) {
  for (const auto& shape : run.shapes()) measure_from_host(run, run.subject(shape));
  const auto& first = run.subject(run.shapes().front());
  measure_two_models(run, first);
  measure_out_of_memory(run, first);
}

}  // namespace torchclip::gpu_check
