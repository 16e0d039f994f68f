// Calls of many threads to an engine whose GPU computes beside them, and an end in the middle; meant for
// ThreadSanitizer (scripts/sanitize), and quick without it. The GPU is a table of functions without arithmetic.
//   core_engine_stress_test ARTIFACT [SECONDS]    default: 2
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "backend/cuda_table.h"
#include "check.h"
#include "engine.h"
#include "engine_calls.h"
#include "model/gpu_model.h"

using namespace torchclip::core;
using namespace torchclip::test;

// A model whose embedding of an image is its first byte in all numbers. Its results come with finish_call.
struct torchclip_cuda_model {
  struct Call {
    std::vector<float> result;
    float* out;
  };
  std::map<std::uint64_t, Call> calls;  // that were begun and not finished
  std::uint64_t last = 0;
  std::int64_t dim = 0, pixels = 0;
};

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint8_t kFailing = 255;  // An image that the GPU fails at.

int32_t make_model(const torchclip_cuda_source* source, torchclip_cuda_model** model, torchclip_backend_error*) {
  auto made = std::make_unique<torchclip_cuda_model>();
  made->dim = source->embed_dim;
  made->pixels = std::int64_t{3} * source->transform.size * source->transform.size;
  *model = made.release();
  return TORCHCLIP_OK;
}

void model_info(const torchclip_cuda_model*, torchclip_cuda_model_info* info) {
  *info = {1, 1, "a GPU without arithmetic"};
}

int32_t finish_call(torchclip_cuda_model* model, uint64_t number, torchclip_backend_error* error) {
  const auto call = std::move(model->calls.at(number));
  model->calls.erase(number);
  if (call.result.at(0) == kFailing) {
    error->status = TORCHCLIP_E_INTERNAL;
    std::strcpy(error->message, "the image fails");
    return error->status;
  }
  std::copy(call.result.begin(), call.result.end(), call.out);
  return TORCHCLIP_OK;
}

int32_t encode_pixels(torchclip_cuda_model* model, const uint8_t* pixels, int64_t rows,
                      const torchclip_encode_options* options, float* out, torchclip_backend_error* error) {
  torchclip_cuda_model::Call call{{}, out};
  for (std::int64_t r = 0; r < rows; ++r) {
    call.result.insert(call.result.end(), static_cast<std::size_t>(model->dim), pixels[r * model->pixels]);
  }
  const std::uint64_t number = ++model->last;
  model->calls.emplace(number, std::move(call));
  if (options->begun) options->begun(options->context);
  if (!options->call) return finish_call(model, number, error);
  *options->call = number;
  return TORCHCLIP_OK;
}

torchclip_cuda_table table_of_gpu() {
  torchclip_cuda_table table{};
  table.make_model = make_model;
  table.destroy_model = [](torchclip_cuda_model* model) { delete model; };
  table.model_info = model_info;
  table.model_memory = [](const torchclip_cuda_model* model, uint64_t* weights, uint64_t* workspace) {
    *weights = 1;
    *workspace = model->calls.size();
  };
  table.model_counts = [](const torchclip_cuda_model* model, torchclip_cuda_counts* counts) {
    counts->graphs = model->last;
  };
  table.encode_pixels = encode_pixels;
  table.finish_call = finish_call;
  table.free_cache = [] {};
  return table;
}

const torchclip_cuda_table& gpu() {
  static const torchclip_cuda_table table = table_of_gpu();
  return table;
}

void load_on_gpu(Engine& engine, int replicas) {
  RunnerOptions options;
  options.device = "cpu";
  options.threads = 1;
  options.replicas = replicas;
  options.precision = "fp32";
  options.make_model = [](const GpuModelSource& source) { return std::make_unique<GpuModel>(gpu(), source); };
  REQUIRE(load(engine, options) == TORCHCLIP_OK);
}

// One call: an image of `first` in its first byte, begun ahead of the call before it or not.
Outcome encode(Engine& engine, const std::vector<std::uint8_t>& pixels, std::vector<float>& out, bool ahead) {
  const auto begin = [&](Runner& runner, const Runner::Rest& begun) {
    return runner.begin_pixels(pixels.data(), 1, out.data(), false, begun);
  };
  const auto work = [&](Runner& runner) { runner.encode_pixels(pixels.data(), 1, out.data(), false); };
  return outcome_of_job([&](Engine::Done done) {
    ahead ? engine.run_ahead(begin, nullptr, std::move(done)) : engine.run(work, nullptr, std::move(done));
  });
}

// Calls until the engine is closed. Each result must be that of its own image.
void call_until_closed(Engine& engine, std::size_t bytes, std::size_t dim, unsigned seed) {
  std::vector<std::uint8_t> pixels(bytes);
  for (unsigned round = seed;; ++round) {
    pixels[0] = static_cast<std::uint8_t>(round % 256);
    std::vector<float> out(dim, -1.0f);
    const Outcome outcome = encode(engine, pixels, out, round % 5 != 0);
    if (outcome == TORCHCLIP_E_CLOSED) return;
    CHECK(outcome == (pixels[0] == kFailing ? TORCHCLIP_E_INTERNAL : TORCHCLIP_OK));
    if (outcome == TORCHCLIP_OK) CHECK(std::count(out.begin(), out.end(), pixels[0]) == std::ptrdiff_t(dim));
    CHECK(engine.memory().workspace <= 2);
  }
}

}  // namespace

TEST_CASE("engine: calls ahead of each other, of many threads, until it is closed in the middle") {
  const std::chrono::duration<double> seconds(arguments().size() > 1 ? std::stod(arguments()[1]) : 2);
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(seconds);
  for (int round = 0; Clock::now() < end; ++round) {
    Engine engine;
    load_on_gpu(engine, round % 4 == 3 ? 2 : 1);
    const auto side = static_cast<std::size_t>(engine.info().image_size);
    const auto dim = static_cast<std::size_t>(engine.info().embed_dim);
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] { call_until_closed(engine, side * side * 3, dim, 60 * t); });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(engine.close());
    for (auto& thread : threads) thread.join();
  }
}
