#include <algorithm>
#include <cmath>
#include <cstdio>

#include "measure.h"
#include "model_inputs.h"
#include "passes.h"
#include "values.h"

namespace torchclip::gpu_check {
namespace {

// How far embeddings of a precision may be from the CPU's in float32.
struct Bounds {
  double cosine;      // least
  double difference;  // largest, of one element
};

Bounds bounds_of(const std::string& precision) {
  if (precision == "fp32") return {1 - 1e-6, 1e-4};
  if (precision == "fp8") return {0.99, 0.15};
  return precision == "fp16" ? Bounds{0.9999, 0.02} : Bounds{0.9995, 0.05};
}

double dot(const float* a, const float* b, std::int64_t dim) {
  double sum = 0;
  for (std::int64_t i = 0; i < dim; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// The text that is nearest to an image.
std::int64_t first_label(const Rows& images, const Rows& texts, std::int64_t dim, std::int64_t image) {
  std::int64_t best = 0;
  double best_score = -INFINITY;
  for (std::int64_t text = 0; text < static_cast<std::int64_t>(texts.size()) / dim; ++text) {
    const double score = dot(images.data() + image * dim, texts.data() + text * dim, dim);
    if (score > best_score) {
      best = text;
      best_score = score;
    }
  }
  return best;
}

double top1_agreement(const Subject& subject, const Rows& images, const Rows& texts) {
  const auto dim = subject.shape.embed, count = subject.sample.images;
  std::int64_t same = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto label = first_label(images, texts, dim, i);
    same += label == first_label(subject.reference_images(), subject.reference_texts(), dim, i) ? 1 : 0;
  }
  return static_cast<double>(same) / static_cast<double>(count);
}

// One batch, encoded uncaptured, captured and replayed where it is small enough for that. No two of the batches that
// are checked are padded to the same size.
void check_batch(Run& run, const Subject& subject, cuda::Model& model, const std::string& precision,
                 std::int64_t batch) {
  const auto pixels = repeated_pixels(subject, batch);
  const Rows expected = repeated(subject.reference_images(), subject.shape.embed, batch);
  Rows first(expected.size()), last(expected.size());
  const auto captured = model.counts().graphs.captured;
  model.encode_pixels(pixels.data(), batch, first.data(), {true, nullptr});
  for (int i = 0; i < 3; ++i) model.encode_pixels(pixels.data(), batch, last.data(), {true, nullptr});
  const auto bounds = bounds_of(precision);
  const double cosine = std::min(test::least_cosine(expected, first, subject.shape.embed),
                                 test::least_cosine(expected, last, subject.shape.embed));
  const double difference =
      std::max(test::largest_difference(expected, first), test::largest_difference(expected, last));
  const double replay = test::largest_difference(first, last);
  const auto graphs = model.counts().graphs;
  const bool recorded = graphs.captured > captured;
  std::printf("%-9s %s batch %4lld  least cosine %.7f  largest difference %.1e  replay differs by %.1e%s\n",
              subject.shape.name, precision.c_str(), static_cast<long long>(batch), cosine, difference, replay,
              recorded ? "  (captured)" : "");
  run.report.add(Row("accuracy")
                     .text("model", subject.shape.name)
                     .text("precision", precision)
                     .number("batch", batch)
                     .number("imageCosine", cosine)
                     .number("largestDifference", difference)
                     .number("replayDifference", replay)
                     .flag("captured", recorded));
  const std::string what = std::string(subject.shape.name) + " " + precision + " batch " + std::to_string(batch) + ": ";
  // Comparisons that NaN fails.
  run.report.expect(cosine >= bounds.cosine, "accuracy", what + "the cosine with the CPU's embeddings");
  run.report.expect(difference <= bounds.difference, "accuracy", what + "the difference from the CPU's embeddings");
  run.report.expect(replay <= bounds.difference, "accuracy", what + "replayed passes give what the first one gave");
  if (batch <= cuda::kCapturedRows) {
    run.report.expect(recorded && graphs.refused == 0, "accuracy",
                      what + "its pass is captured" + (graphs.problem.empty() ? "" : " (" + graphs.problem + ")"));
  }
}

void check_texts_and_labels(Run& run, const Subject& subject, cuda::Model& model, const std::string& precision) {
  const Sample& in = subject.sample;
  Rows images(subject.reference_images().size()), texts(subject.reference_texts().size());
  model.encode_pixels(in.pixels.data(), in.images, images.data(), {true, nullptr});
  model.encode_tokens(in.ids.data(), in.texts, kContext, texts.data(), {true, nullptr});
  const double cosine = test::least_cosine(subject.reference_texts(), texts, subject.shape.embed);
  const double agreement = top1_agreement(subject, images, texts);
  std::printf("%-9s %s texts       least cosine %.7f  same top-1 %3.0f %%\n", subject.shape.name, precision.c_str(),
              cosine, 100 * agreement);
  run.report.add(Row("accuracy")
                     .text("model", subject.shape.name)
                     .text("precision", precision)
                     .number("textCosine", cosine)
                     .number("top1Agreement", agreement));
  run.report.expect(cosine >= bounds_of(precision).cosine, "accuracy",
                    std::string(subject.shape.name) + " " + precision + ": the texts' cosine");
}

}  // namespace

void check_accuracy(Run& run, const Subject& subject, cuda::Model& model, const std::string& precision) {
  // One row (split-K, split-KV), sizes that are padded, one above the captured sizes, and several passes.
  const std::vector<std::int64_t> batches =
      run.options.dry ? std::vector<std::int64_t>{1, 5} : std::vector<std::int64_t>{1, 2, 5, 33, 65, 400};
  const std::string what = std::string(subject.shape.name) + " " + precision;
  for (const auto batch : batches) {
    attempt(run, "accuracy", what + " batch " + std::to_string(batch),
            [&] { check_batch(run, subject, model, precision, batch); });
  }
  attempt(run, "accuracy", what + " texts", [&] { check_texts_and_labels(run, subject, model, precision); });
}

}  // namespace torchclip::gpu_check
