// Texts of mixed lengths, in batches whose token counts all differ, as real captions come.
#include <cstdio>

#include "measure.h"
#include "model_inputs.h"
#include "values.h"

namespace torchclip::gpu_check {
namespace {

// A batch of texts of 4 to 40 tokens.
std::vector<std::int32_t> mixed_texts(std::int64_t rows, std::uint32_t& seed) {
  constexpr auto kStart = static_cast<std::int32_t>(kVocabulary - 2);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(rows * kContext), 0);
  for (std::int64_t r = 0; r < rows; ++r) {
    auto* row = &ids[static_cast<std::size_t>(r * kContext)];
    const std::uint32_t words = 2 + (test::next_random(seed) >> 16) % 37;
    row[0] = kStart;
    for (std::uint32_t i = 1; i <= words; ++i) row[i] = static_cast<std::int32_t>(test::next_random(seed) % kStart);
    row[words + 1] = kStart + 1;
  }
  return ids;
}

void measure_batches(Run& run, const Subject& subject, cuda::Model& model, std::int64_t rows) {
  const int warm_up = run.options.dry ? 1 : 10, calls = run.options.dry ? 1 : 40;
  Rows out(static_cast<std::size_t>(rows * subject.shape.embed));
  std::uint32_t seed = 11;
  const auto encode = [&](int times) {
    double seconds = 0;
    for (int i = 0; i < times; ++i) {
      const auto ids = mixed_texts(rows, seed);
      seconds += seconds_of([&] { model.encode_tokens(ids.data(), rows, kContext, out.data(), {true, nullptr}); });
    }
    return seconds;
  };
  encode(warm_up);
  const auto timed = model.counts().timed_gemms;
  const double speed = static_cast<double>(rows) * calls / encode(calls);
  const auto timed_since = model.counts().timed_gemms - timed;
  std::printf("%-9s bf16 batch %4lld  %9.0f texts/s of 4 to 40 tokens from host memory; %llu GEMMs timed on the way\n",
              subject.shape.name, static_cast<long long>(rows), speed, static_cast<unsigned long long>(timed_since));
  run.report.add(Row("texts")
                     .text("model", subject.shape.name)
                     .text("precision", "bf16")
                     .number("batch", rows)
                     .number("textsPerSecond", speed)
                     .number("timedGemms", timed_since));
  // Each new size may meet a cell that the first batches did not have; every call must not.
  run.report.expect(timed_since <= 40, "texts", std::string(subject.shape.name) + ": plans of GEMMs are reused");
}

void check_mixed(Run& run, const Subject& subject, cuda::Model& model) {
  const std::int64_t rows = run.options.dry ? 5 : 200;
  const auto ids = repeated_ids(subject, rows);
  Rows out(static_cast<std::size_t>(rows * subject.shape.embed));
  for (int i = 0; i < 3; ++i) model.encode_tokens(ids.data(), rows, kContext, out.data(), {true, nullptr});
  const Rows expected = repeated(subject.reference_texts(), subject.shape.embed, rows);
  const double least = test::least_cosine(expected, out, subject.shape.embed);
  std::printf("%-9s bf16 %lld texts in one call: least cosine %.6f\n", subject.shape.name, static_cast<long long>(rows),
              least);
  run.report.add(Row("texts").text("model", subject.shape.name).number("batch", rows).number("textCosine", least));
  run.report.expect(least >= 0.9995, "texts", std::string(subject.shape.name) + ": large batches of texts agree");
}

}  // namespace

void texts_stage(Run& run) {
  const std::vector<std::int64_t> batches =
      run.options.dry ? std::vector<std::int64_t>{3} : std::vector<std::int64_t>{16, 64, 256, 1024};
  for (const auto& shape : run.shapes()) {
    const std::string name = shape.name;
    attempt(run, "texts", name, [&] {
      const auto& subject = run.subject(shape);
      const auto model = subject.on_gpu("bf16");
      for (const auto rows : batches) {
        attempt(run, "texts", name + " batch " + std::to_string(rows),
                [&] { measure_batches(run, subject, *model, rows); });
      }
      check_mixed(run, subject, *model);
    });
  }
}

}  // namespace torchclip::gpu_check
