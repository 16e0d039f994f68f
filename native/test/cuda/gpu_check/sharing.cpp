// Two models on one device at once, and a device without free memory.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <thread>

#include "base/error.h"
#include "caller.h"
#include "model_inputs.h"
#include "test_device.h"

namespace torchclip::gpu_check {
namespace {

struct Speeds {
  double one = 0, other = 0;  // images a second
};

// Both at once, on a thread each; the first exception is thrown here. One thread at a time may use the host's model of
// a GPU.
Speeds speeds_at_once(Caller& one, Caller& other, int calls) {
  Speeds speeds;
  if (cuda::is_host_device()) {
    speeds.other = other.speed(other.most, calls);
    speeds.one = one.speed(one.most, calls);
    return speeds;
  }
  std::exception_ptr failures[2];
  const auto measure = [calls](Caller& caller, double& speed, std::exception_ptr& failure) {
    try {
      speed = caller.speed(caller.most, calls);
    } catch (...) {
      failure = std::current_exception();
    }
  };
  std::thread beside([&] { measure(other, speeds.other, failures[1]); });
  measure(one, speeds.one, failures[0]);
  beside.join();
  for (const auto& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
  return speeds;
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

// What becomes of a call on a full device.
std::string outcome_on_full_device(Run& run, Caller& caller) {
  const auto device = cuda::test_device();
  const auto taken = take_memory(*device);
  try {
    caller.encode(caller.most);
  } catch (...) {
    const auto failure = core::current_failure();
    const bool says_so = failure.status == TORCHCLIP_E_OUT_OF_MEMORY;
    run.report.expect(says_so, "host", "a full device is E_OUT_OF_MEMORY, not: " + failure.message);
    return says_so ? "E_OUT_OF_MEMORY" : failure.message;
  }
  return "encoded in smaller passes";
}

}  // namespace

// Both give what they give alone.
void measure_two_models(Run& run, const Subject& subject) {
  const std::int64_t batch = run.options.dry ? 2 : 256;
  Caller one(subject, "bf16", batch), other(subject, "fp16", batch);
  one.encode(batch);
  other.encode(batch);
  const Rows alone = one.out[0], other_alone = other.out[0];
  const auto speeds = speeds_at_once(one, other, run.options.dry ? 1 : 30);
  const double difference =
      std::max(test::largest_difference(alone, one.out[0]), test::largest_difference(other_alone, other.out[0]));
  std::printf("%-9s two models at once, batch %lld: %.0f + %.0f images/s\n", subject.shape.name,
              static_cast<long long>(batch), speeds.one, speeds.other);
  run.report.add(Row("host")
                     .text("model", subject.shape.name)
                     .text("what", "two models at once")
                     .number("batch", batch)
                     .number("imagesPerSecond", speeds.one)
                     .number("otherImagesPerSecond", speeds.other)
                     .number("largestDifference", difference));
  run.report.expect(difference <= 1e-3, "host",
                    std::string(subject.shape.name) + ": two models at once give what each gives alone");
}

// A call on a device without free memory ends, by smaller passes or as out of memory; the model works on afterwards.
void measure_out_of_memory(Run& run, const Subject& subject) {
  if (cuda::is_host_device()) return;  // cuda_model_test does it with a limit
  Caller caller(subject, "bf16", 256);
  caller.encode(caller.most);
  const Rows expected = caller.out[0];
  caller.model = subject.on_gpu("bf16");  // without a workspace so far
  const auto outcome = outcome_on_full_device(run, caller);
  caller.encode(caller.most);
  caller.encode(caller.most);
  const double difference = test::largest_difference(expected, caller.out[0]);
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

}  // namespace torchclip::gpu_check
