// Calls that return before their results are there: the next call's copies and launches come before the device has
// finished the one before it.
//   cuda_ahead_test ARTIFACT
#include <algorithm>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "engine.h"
#include "engine_calls.h"
#include "forwarding_device.h"
#include "model.h"
#include "model/artifact/artifact.h"
#include "model/config/pixel_table.h"
#include "model/gpu_model.h"
#include "model_inputs.h"
#include "model_source.h"
#include "test_device.h"
#include "test_table.h"

using namespace torchclip::cuda;
using namespace torchclip::test;
namespace core = torchclip::core;

namespace {

const std::string& artifact() { return arguments().at(0); }

using Log = std::vector<std::string>;

// The entries from `first` on, with commas.
std::string joined(const Log& log, std::size_t first = 0) {
  std::string text;
  for (std::size_t i = first; i < log.size(); ++i) text += (i > first ? ", " : "") + log[i];
  return text;
}

// The tests' device with a log of what happens to its slots. `fails`: the next finish of a pass fails.
class LoggedDevice final : public ForwardingDevice {
 public:
  LoggedDevice(Log& log, bool& fails) : log_(log), fails_(fails) {}

  void upload_async(int slot, const void* from, std::size_t bytes) override {
    log_.push_back("upload " + std::to_string(slot));
    ForwardingDevice::upload_async(slot, from, bytes);
  }
  void end_batch(int slot, void* to, const void* from, std::size_t bytes) override {
    log_.push_back("queued " + std::to_string(slot));
    pending_[slot] = true;
    ForwardingDevice::end_batch(slot, to, from, bytes);
  }
  void finish(int slot) override {
    if (std::exchange(pending_[slot], false)) {
      log_.push_back("finish " + std::to_string(slot));
      if (std::exchange(fails_, false)) throw std::runtime_error("the device's work failed");
    }
    ForwardingDevice::finish(slot);
  }

 private:
  Log& log_;
  bool& fails_;
  bool pending_[kSlots] = {};
};

// A model of the artifact on a logged device, and images for it.
struct LoggedModel {
  LoggedModel() {
    auto source = source_of(file, table);
    source.texts = false;
    model = make_model(std::make_unique<LoggedDevice>(log, fails), source);
    for (std::uint32_t i = 0; i < 3; ++i) images.push_back(striped_image(side(), side(), i + 1));
    for (const auto& image : images) alone.push_back(encoded(image));
    log.clear();
  }

  std::int32_t side() const { return file.config().transform.size; }
  Rows room() const { return Rows(static_cast<std::size_t>(file.config().embed_dim), -7.0f); }
  Rows encoded(const std::vector<std::uint8_t>& image) {
    Rows out = room();
    model->encode_pixels(image.data(), 1, out.data(), {true});
    return out;
  }
  std::uint64_t begin(std::size_t image, Rows& out) {
    std::uint64_t call = 0;
    EncodeOptions options{true};
    options.call = &call;
    model->encode_pixels(images[image].data(), 1, out.data(), options);
    return call;
  }

  const core::Artifact file{artifact()};
  const core::PixelTable table{file.config().mean.data(), file.config().std.data()};
  Log log;
  bool fails = false;
  std::unique_ptr<Model> model;
  std::vector<std::vector<std::uint8_t>> images;
  std::vector<Rows> alone;
};

}  // namespace

TEST_CASE("the next call is copied and queued before the results of a call are waited for") {
  LoggedModel logged;
  Rows a = logged.room(), b = logged.room(), c = logged.room();
  const auto first = logged.begin(0, a);
  CHECK(first != 0);
  CHECK(first_difference(a, logged.room()) == "");  // not there yet
  const auto second = logged.begin(1, b);
  CHECK(joined(logged.log) == "upload 0, queued 0, upload 1, queued 1");
  logged.model->finish_call(first);
  CHECK(first_difference(a, logged.alone[0]) == "");
  CHECK(first_difference(b, logged.room()) == "");
  const auto third = logged.begin(2, c);  // in the slot that is free
  logged.model->finish_call(second);
  logged.model->finish_call(third);
  CHECK(joined(logged.log, 4) == "finish 0, upload 0, queued 0, finish 1, finish 0");
  CHECK(first_difference(b, logged.alone[1]) == "");
  CHECK(first_difference(c, logged.alone[2]) == "");
}

TEST_CASE("a third call waits for the first one alone, whose results are there for its end") {
  LoggedModel logged;
  Rows a = logged.room(), b = logged.room(), c = logged.room();
  const auto first = logged.begin(0, a), second = logged.begin(1, b), third = logged.begin(2, c);
  CHECK(first_difference(a, logged.alone[0]) == "");
  CHECK(first_difference(b, logged.room()) == "");
  for (const auto call : {first, second, third}) logged.model->finish_call(call);
  CHECK(first_difference(b, logged.alone[1]) == "");
  CHECK(first_difference(c, logged.alone[2]) == "");
}

TEST_CASE("a call that is not ahead waits for its own results, and leaves those of earlier calls to them") {
  LoggedModel logged;
  Rows a = logged.room();
  const auto first = logged.begin(0, a);
  CHECK(first_difference(logged.encoded(logged.images[1]), logged.alone[1]) == "");
  logged.model->finish_call(first);
  CHECK(first_difference(a, logged.alone[0]) == "");
}

TEST_CASE("calls that follow each other without overlap use one slot, so that captured passes are replayed") {
  LoggedModel logged;
  for (const auto& image : logged.images) logged.encoded(image);
  CHECK(std::count(logged.log.begin(), logged.log.end(), "upload 0") == 3);
}

TEST_CASE("what fails on the device is an error of its own call alone, also where a later one waits for its slot") {
  LoggedModel logged;
  Rows a = logged.room(), b = logged.room(), c = logged.room();
  const auto first = logged.begin(0, a), second = logged.begin(1, b);
  logged.fails = true;
  const auto third = logged.begin(2, c);
  CHECK_THROWS_AS(logged.model->finish_call(first), std::runtime_error);
  logged.model->finish_call(second);
  logged.model->finish_call(third);
  CHECK(first_difference(b, logged.alone[1]) == "");
  CHECK(first_difference(c, logged.alone[2]) == "");
  CHECK(first_difference(logged.encoded(logged.images[2]), logged.alone[2]) == "");
}

TEST_CASE("a call of several passes tells of its beginning after the first of them, once") {
  LoggedModel logged;
  const std::int64_t rows = 130;  // begins with a small pass
  std::vector<std::uint8_t> pixels;
  for (std::int64_t r = 0; r < rows; ++r) pixels.insert(pixels.end(), logged.images[0].begin(), logged.images[0].end());
  Rows out(static_cast<std::size_t>(rows) * logged.room().size());
  std::uint64_t call = 0;
  EncodeOptions options{true};
  options.call = &call;
  options.context = &logged.log;
  options.begun = [](void* log) { static_cast<Log*>(log)->push_back("begun"); };
  logged.model->encode_pixels(pixels.data(), rows, out.data(), options);
  CHECK(joined(logged.log) == "upload 0, queued 0, begun, upload 1, queued 1");
  logged.model->finish_call(call);
}

TEST_CASE("an engine begins a call while the one before it is computed, and ends them in their order") {
  if (!is_host_device()) return skip("a GPU has no log");
  static Log log;  // of the table's functions below; one thread at a time writes it
  log.clear();
  static torchclip_cuda_table table;
  static const torchclip_cuda_table* real;
  real = &test_table();
  table = *real;
  table.encode_pixels = [](torchclip_cuda_model* model, const uint8_t* pixels, int64_t rows,
                           const torchclip_encode_options* options, float* out, torchclip_backend_error* error) {
    log.emplace_back("encode");
    return real->encode_pixels(model, pixels, rows, options, out, error);
  };
  table.finish_call = [](torchclip_cuda_model* model, uint64_t call, torchclip_backend_error* error) {
    log.push_back("finish " + std::to_string(call));
    return real->finish_call(model, call, error);
  };
  core::RunnerOptions options;
  options.device = "cpu";
  options.precision = "fp32";
  options.make_model = [](const core::GpuModelSource& source) {
    return std::make_unique<core::GpuModel>(table, source);
  };
  core::Engine engine;
  REQUIRE(load(engine, options) == TORCHCLIP_OK);
  const auto& info = engine.info();
  const auto image = striped_image(info.image_size, info.image_size, 1);
  Rows a(static_cast<std::size_t>(info.embed_dim)), b(a.size());
  std::promise<void> open, ends[2];
  // The thread is held until both calls wait.
  engine.run([&](core::Runner&) { open.get_future().wait(); }, nullptr, [](const core::Failure&) {});
  const auto call = [&](Rows& out, std::promise<void>& end, const char* name) {
    const auto begin = [&](core::Runner& runner, const core::Runner::Rest& begun) {
      return runner.begin_pixels(image.data(), 1, out.data(), true, begun);
    };
    engine.run_ahead(begin, nullptr, [&end, name](const core::Failure& failure) {
      log.push_back(std::string("end of ") + name + (failure.status == TORCHCLIP_OK ? "" : ": " + failure.message));
      end.set_value();
    });
  };
  call(a, ends[0], "a");
  call(b, ends[1], "b");
  open.set_value();
  for (auto& end : ends) end.get_future().wait();
  CHECK(joined(log) == "encode, encode, finish 1, end of a, finish 2, end of b");
  CHECK(first_difference(a, b) == "");
  engine.close();
}
