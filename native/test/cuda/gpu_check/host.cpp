// Images from the host's memory to the host's memory: one call after another, and two in flight, as an engine makes
// them when calls wait.
#include <cstdio>

#include "caller.h"
#include "model_inputs.h"

namespace torchclip::gpu_check {
namespace {

// How a batch is given to the model, and the images a second of some calls.
struct Way {
  const char* name;
  std::function<double(std::int64_t batch, int calls)> speed;
};

void measure_way(Run& run, Caller& caller, const Way& way, std::int64_t batch) {
  const int first = run.options.dry ? 1 : 4;  // Captures, timed GEMMs and memory that grows come before the measuring.
  const double warm = seconds_of([&] { way.speed(batch, first); }) / first;
  const double speed = way.speed(batch, repeats_for(run, warm));
  std::printf("%-9s bf16 batch %4lld  %9.0f images/s from host memory, %s\n", caller.subject.shape.name,
              static_cast<long long>(batch), speed, way.name);
  run.report.add(Row("host")
                     .text("model", caller.subject.shape.name)
                     .text("precision", "bf16")
                     .text("how", way.name)
                     .number("batch", batch)
                     .number("imagesPerSecond", speed));
}

// Two calls in flight give what one alone gives.
void check_ahead(Run& run, Caller& caller, const PinnedPixels& pinned, std::int64_t batch) {
  caller.encode(batch);
  const Rows alone = caller.out[0];
  caller.speed_ahead(pinned.data(), batch, 4);
  double difference = 0;
  for (const auto& rows : caller.out) difference = std::max(difference, test::largest_difference(alone, rows));
  run.report.expect(difference <= 1e-3, "host",
                    std::string(caller.subject.shape.name) + " batch " + std::to_string(batch) +
                        ": two calls in flight give what one alone gives");
}

void measure_from_host(Run& run, const Subject& subject) {
  const std::vector<std::int64_t> batches =
      run.options.dry ? std::vector<std::int64_t>{3} : std::vector<std::int64_t>{1, 8, 32, 64, 256, 1024};
  Caller caller(subject, "bf16", batches.back());
  const PinnedPixels pinned(caller.pixels);
  const auto ahead = [&](const std::uint8_t* from) {
    return [&caller, from](std::int64_t batch, int calls) { return caller.speed_ahead(from, batch, calls); };
  };
  const Way ways[] = {{"one call", [&](std::int64_t batch, int calls) { return caller.speed(batch, calls); }},
                      {"two calls in flight", ahead(caller.pixels.data())},
                      {"two calls in flight, page-locked", ahead(pinned.data())}};
  for (const auto batch : batches) {
    for (const auto& way : ways) measure_way(run, caller, way, batch);
  }
  check_ahead(run, caller, pinned, batches.back());
}

}  // namespace

void host_stage(Run& run) {
  for (const auto& shape : run.shapes()) {
    attempt(run, "host", shape.name, [&] { measure_from_host(run, run.subject(shape)); });
  }
  const auto& first = run.subject(run.shapes().front());
  attempt(run, "host", "two models at once", [&] { measure_two_models(run, first); });
  attempt(run, "host", "a full device", [&] { measure_out_of_memory(run, first); });
}

}  // namespace torchclip::gpu_check
