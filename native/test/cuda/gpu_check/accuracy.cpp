#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "measure.h"
#include "model_inputs.h"
#include "values.h"

namespace torchclip::gpu_check {
namespace {

using Rows = std::vector<float>;

void normalize(Rows& rows, std::int64_t dim) {
  for (auto row = rows.begin(); row != rows.end(); row += dim) {
    double squares = 0;
    for (auto x = row; x != row + dim; ++x) squares += static_cast<double>(*x) * *x;
    for (auto x = row; x != row + dim; ++x) *x = static_cast<float>(*x / std::sqrt(squares));
  }
}

// Normalised embeddings of a sample.
struct Embeddings {
  explicit Embeddings(const Subject& subject)
      : dim(subject.shape.embed),
        images(static_cast<std::size_t>(subject.sample.images * dim)),
        texts(static_cast<std::size_t>(subject.sample.texts * dim)) {}

  void finish() {
    normalize(images, dim);
    normalize(texts, dim);
  }
  std::int64_t image_count() const { return static_cast<std::int64_t>(images.size()) / dim; }
  std::int64_t text_count() const { return static_cast<std::int64_t>(texts.size()) / dim; }

  std::int64_t dim;
  Rows images, texts;
};

double dot(const float* a, const float* b, std::int64_t dim) {
  double sum = 0;
  for (std::int64_t i = 0; i < dim; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// The text that is nearest to an image.
std::int64_t first_label(const Embeddings& e, std::int64_t image) {
  std::int64_t best = 0;
  double best_score = -INFINITY;
  for (std::int64_t text = 0; text < e.text_count(); ++text) {
    const double score = dot(&e.images[image * e.dim], &e.texts[text * e.dim], e.dim);
    if (score > best_score) {
      best = text;
      best_score = score;
    }
  }
  return best;
}

double top1_agreement(const Embeddings& a, const Embeddings& b) {
  std::int64_t same = 0;
  for (std::int64_t image = 0; image < a.image_count(); ++image) {
    same += first_label(a, image) == first_label(b, image) ? 1 : 0;
  }
  return static_cast<double>(same) / static_cast<double>(a.image_count());
}

Embeddings on_cpu(const Subject& subject) {
  const Sample& in = subject.sample;
  Embeddings out(subject);
  CpuModel cpu(subject, core::Precision::fp32);
  cpu.images(in.pixels.data(), in.images, out.images.data());
  cpu.texts(in.ids.data(), in.texts, out.texts.data());
  out.finish();
  return out;
}

Embeddings on_gpu(const Subject& subject, const std::string& precision) {
  const Sample& in = subject.sample;
  Embeddings out(subject);
  const auto model = subject.on_gpu(precision);
  model->encode_pixels(in.pixels.data(), in.images, core::ImageOutput::embedding, out.images.data(), nullptr);
  model->encode_tokens(in.ids.data(), in.texts, kContext, out.texts.data(), nullptr);
  out.finish();
  return out;
}

}  // namespace

void measure_accuracy(const Subject& subject, Report& report) {
  const std::int64_t dim = subject.shape.embed;
  const Embeddings expected = on_cpu(subject);
  for (const char* precision : {"fp32", "fp16", "bf16"}) {
    const Embeddings got = on_gpu(subject, precision);
    const double largest = std::max(test::largest_difference(expected.images, got.images),
                                    test::largest_difference(expected.texts, got.texts));
    const double images = test::least_cosine(expected.images, got.images, dim);
    const double texts = test::least_cosine(expected.texts, got.texts, dim);
    const double agreement = top1_agreement(expected, got);
    std::printf("%-9s %s  largest difference %.1e  least cosine: images %.6f, texts %.6f  same top-1 %3.0f %%\n",
                subject.shape.name, precision, largest, images, texts, 100 * agreement);
    report.add(Row()
                   .text("model", subject.shape.name)
                   .text("precision", precision)
                   .number("largestDifference", std::isinf(largest) ? -1 : largest)
                   .number("imageCosine", images)
                   .number("textCosine", texts)
                   .number("top1Agreement", agreement));
  }
}

}  // namespace torchclip::gpu_check
