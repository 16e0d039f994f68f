// The part of scripts/gpu-check that measures: CUDA against the CPU runner (differences, cosines, the same first
// label), images and texts a second, share of the device's own matrix speed, latency with and without recorded passes,
// memory.
//   gpu_check [--quick] [--dry-run] [--torch FILE] [--json FILE]
// --torch: what scripts/gpu-check.py wrote, for the columns of PyTorch. --dry-run: a small model on whatever device
// this is built for, to prove the program; its numbers mean nothing.
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "model.h"
#include "model/cpu/tower.h"
#include "peak.h"
#include "test_device.h"

namespace core = torchclip::core;
namespace cuda = torchclip::cuda;

namespace {

struct Shape {
  const char* name;
  std::int64_t size, patch, width, layers, heads, text_width, text_layers, text_heads, embed;
  const char* activation;
};

// open_clip's configurations of these names.
constexpr Shape kShapes[] = {
    {"ViT-B/32", 224, 32, 768, 12, 12, 512, 12, 8, 512, "quick_gelu"},
    {"ViT-B/16", 224, 16, 768, 12, 12, 512, 12, 8, 512, "quick_gelu"},
    {"ViT-L/14", 224, 14, 1024, 24, 16, 768, 12, 12, 768, "quick_gelu"},
    {"ViT-H/14", 224, 14, 1280, 32, 16, 1024, 24, 16, 1024, "gelu"},
};
constexpr Shape kSmall = {"small", 32, 8, 64, 2, 2, 64, 2, 2, 32, "quick_gelu"};
constexpr std::int64_t kContext = 77, kVocabulary = 49408, kTextLength = 22;  // the median of the SST2 sentences

core::Json config_of(const Shape& s) {
  std::ostringstream out;
  const auto block = [&](std::int64_t width, std::int64_t layers, std::int64_t heads) {
    out << "\"width\":" << width << ",\"layers\":" << layers << ",\"heads\":" << heads << ",\"mlpWidth\":" << 4 * width
        << ",\"eps\":1e-5,\"activation\":\"" << s.activation << "\",";
  };
  out << "{\"image\":{\"kind\":\"vit\",\"imageSize\":" << s.size << ",\"patchSize\":" << s.patch << ",";
  block(s.width, s.layers, s.heads);
  out << "\"pool\":\"token\",\"classToken\":true,\"preNorm\":true},\"text\":{\"kind\":\"transformer\",";
  block(s.text_width, s.text_layers, s.text_heads);
  out << "\"pool\":\"argmax\",\"causal\":true,\"endId\":" << kVocabulary - 1 << "}}";
  return core::Json::parse(out.str());
}

std::uint32_t next(std::uint32_t& seed) { return seed = seed * 1664525u + 1013904223u; }

// Random weights with the deviations that CLIP is initialised with, the same for a name wherever they are asked for.
core::Weights weights_of(const Shape& s) {
  return [s](const std::string& name) -> core::Tensor {
    const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
    const bool text = name.rfind("text.", 0) == 0;
    const std::int64_t w = text ? s.text_width : s.width, layers = text ? s.text_layers : s.layers;
    const double narrow = 1 / std::sqrt(static_cast<double>(w)), deep = narrow / std::sqrt(2.0 * layers);
    std::vector<std::int64_t> shape;
    double deviation = narrow, mean = 0;
    if (has("conv1.weight")) {
      shape = {w, 3, s.patch, s.patch};
      deviation = 1 / std::sqrt(3.0 * s.patch * s.patch);
    } else if (has("visual.positional_embedding")) {
      shape = {(s.size / s.patch) * (s.size / s.patch) + 1, w};
    } else if (has("class_embedding")) {
      shape = {w};
    } else if (has("token_embedding")) {
      shape = {kVocabulary, w};
      deviation = 0.02;
    } else if (has("text.positional_embedding")) {
      shape = {kContext, w};
      deviation = 0.01;
    } else if (has(".ln_")) {
      shape = {w};
      deviation = 0.02;
      mean = has("weight") ? 1 : 0;
    } else if (has("in_proj_weight")) {
      shape = {3 * w, w};
    } else if (has("in_proj_bias")) {
      shape = {3 * w};
      deviation = 0.02;
    } else if (has("out_proj.weight")) {
      shape = {w, w};
      deviation = deep;
    } else if (has("c_fc.weight")) {
      shape = {4 * w, w};
      deviation = narrow / std::sqrt(2.0);
    } else if (has("c_proj.weight")) {
      shape = {w, 4 * w};
      deviation = deep;
    } else if (has("c_fc.bias") || has("c_proj.bias") || has("out_proj.bias")) {
      shape = {has("c_fc") ? 4 * w : w};
      deviation = 0.02;
    } else if (name == "visual.proj" || name == "text.text_projection") {
      shape = {w, s.embed};
    } else {
      return {};
    }
    std::int64_t n = 1;
    for (const auto d : shape) n *= d;
    auto values = std::make_shared<std::vector<float>>(static_cast<std::size_t>(n));
    std::uint32_t seed = 2166136261u;
    for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 16777619u;
    const double range = deviation * std::sqrt(3.0);  // uniform in [-range, range] has this deviation
    for (auto& x : *values) {
      x = static_cast<float>(mean + range * (static_cast<double>(next(seed) >> 8) / (1 << 23) - 1));
    }
    return {values->data(), shape, values};
  };
}

struct Sample {
  std::int64_t images = 32, texts = 32;
  std::vector<std::uint8_t> pixels;
  std::vector<std::int32_t> ids;
};

Sample sample_of(const Shape& s, bool small) {
  Sample out;
  if (small) out.images = out.texts = 4;
  std::uint32_t seed = 3;
  for (std::int64_t i = 0; i < out.images; ++i) {
    const std::uint32_t colour = next(seed) >> 8, step = 2 + (next(seed) >> 27);
    for (std::int64_t y = 0; y < s.size; ++y) {
      for (std::int64_t x = 0; x < s.size; ++x) {
        const bool stripe = (x * (i % 3) + y * (i % 5)) / step % 2 != 0;
        for (std::uint32_t c = 0; c < 3; ++c) {
          out.pixels.push_back(static_cast<std::uint8_t>(stripe ? colour >> (8 * c) : x + y * c));
        }
      }
    }
  }
  for (std::int64_t t = 0; t < out.texts; ++t) {
    const std::int64_t words = 3 + t % 30;
    for (std::int64_t i = 0; i < kContext; ++i) {
      const bool word = i > 0 && i <= words;
      out.ids.push_back(i == 0           ? static_cast<std::int32_t>(kVocabulary - 2)
                        : word           ? static_cast<std::int32_t>(next(seed) % (kVocabulary - 2))
                        : i == words + 1 ? static_cast<std::int32_t>(kVocabulary - 1)
                                         : 0);
    }
  }
  return out;
}

using Rows = std::vector<float>;

void normalize(Rows& rows, std::int64_t dim) {
  for (std::size_t r = 0; r < rows.size(); r += static_cast<std::size_t>(dim)) {
    double squares = 0;
    for (std::int64_t i = 0; i < dim; ++i) squares += static_cast<double>(rows[r + i]) * rows[r + i];
    for (std::int64_t i = 0; i < dim; ++i) rows[r + i] = static_cast<float>(rows[r + i] / std::sqrt(squares));
  }
}

struct Embedded {
  Rows images, texts;
};

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The CPU runner's towers.
class Cpu {
 public:
  Cpu(const Shape& s, core::Precision precision, const core::Json& config, const core::PixelTable& table)
      : pool_(static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))),
        context_{*core::kernels(), pool_},
        embed_(s.embed) {
    const auto weights = weights_of(s);
    image_ = core::ImageTower::make(context_, precision, weights, config["image"], s.embed, table);
    text_ = core::TextTower::make(context_, precision, weights, config["text"], s.embed);
  }
  void images(const std::uint8_t* pixels, std::int64_t rows, float* out) {
    image_->encode(context_, arena_, pixels, core::Matrix::dense(out, rows, embed_), nullptr);
  }
  void texts(const std::int32_t* ids, std::int64_t rows, float* out) {
    text_->encode(context_, arena_, ids, kContext, core::Matrix::dense(out, rows, embed_), nullptr);
  }

 private:
  core::ThreadPool pool_;
  core::Context context_;
  core::Arena arena_;
  std::int64_t embed_;
  std::unique_ptr<core::ImageTower> image_;
  std::unique_ptr<core::TextTower> text_;
};

// Of the products and the attention that are computed for one image.
double image_flops(const Shape& s) {
  const double patches = static_cast<double>(s.size / s.patch * (s.size / s.patch)), tokens = patches + 1;
  const double w = static_cast<double>(s.width);
  const auto block = [&](double rows) { return tokens * 4 * w * w + rows * (20 * w * w + 4 * tokens * w); };
  return patches * 6 * static_cast<double>(s.patch * s.patch) * w +
         (static_cast<double>(s.layers) - 1) * block(tokens) + block(1) + 2 * w * static_cast<double>(s.embed);
}

struct Options {
  bool quick = false, dry = false;
  std::string torch, json = "gpu-check.json";
};

class Report {
 public:
  std::ostringstream json;
  void begin(const char* name) {
    json << (first_ ? "" : ",\n") << "\"" << name << "\":";
    first_ = false;
  }

 private:
  bool first_ = true;
};

double torch_speed(const core::Json& torch, const std::string& model, std::int64_t batch, const char* kind) {
  for (const auto& row : torch["rows"].items()) {
    if (row["model"].text() == model && static_cast<std::int64_t>(row["batch"].number()) == batch) {
      return row[kind].number();
    }
  }
  return 0;
}

std::string ratio(double ours, double theirs) {
  if (theirs <= 0) return "      -";
  char text[32];
  std::snprintf(text, sizeof text, "%6.2fx", ours / theirs);
  return text;
}

std::unique_ptr<core::GpuModel> model_of(const Shape& s, const core::Json& config, const core::PixelTable& table,
                                         const std::string& precision) {
  const auto weights = weights_of(s);
  return cuda::make_model(
      cuda::test_device(),
      {0, precision, weights, config, s.embed, kContext, {static_cast<std::int32_t>(s.size)}, table});
}

void accuracy(const Shape& s, const Options& options, Report& report, const core::PixelTable& table) {
  const auto config = config_of(s);
  const auto in = sample_of(s, options.dry);
  Embedded reference{Rows(in.images * s.embed), Rows(in.texts * s.embed)};
  Cpu cpu(s, core::Precision::fp32, config, table);
  cpu.images(in.pixels.data(), in.images, reference.images.data());
  cpu.texts(in.ids.data(), in.texts, reference.texts.data());
  normalize(reference.images, s.embed);
  normalize(reference.texts, s.embed);
  const auto dot = [&](const Rows& a, std::int64_t i, const Rows& b, std::int64_t j) {
    double sum = 0;
    for (std::int64_t d = 0; d < s.embed; ++d) sum += static_cast<double>(a[i * s.embed + d]) * b[j * s.embed + d];
    return sum;
  };
  const auto first = [&](const Embedded& e, std::int64_t image) {
    std::int64_t best = 0;
    for (std::int64_t t = 1; t < in.texts; ++t) {
      if (dot(e.images, image, e.texts, t) > dot(e.images, image, e.texts, best)) best = t;
    }
    return best;
  };
  for (const std::string precision : {"fp32", "fp16", "bf16"}) {
    const auto model = model_of(s, config, table, precision);
    Embedded got{Rows(in.images * s.embed), Rows(in.texts * s.embed)};
    model->encode_pixels(in.pixels.data(), in.images, got.images.data(), nullptr);
    model->encode_tokens(in.ids.data(), in.texts, kContext, got.texts.data(), nullptr);
    normalize(got.images, s.embed);
    normalize(got.texts, s.embed);
    double largest = 0, images = 1, texts = 1;
    for (const auto& [a, b] : {std::pair(&reference.images, &got.images), std::pair(&reference.texts, &got.texts)}) {
      for (std::size_t i = 0; i < a->size(); ++i) {
        const double d = std::abs((*a)[i] - (*b)[i]);
        largest = std::isnan(d) ? INFINITY : std::max(largest, d);
      }
    }
    std::int64_t same = 0;
    for (std::int64_t i = 0; i < in.images; ++i) {
      images = std::min(images, dot(reference.images, i, got.images, i));
      same += first(reference, i) == first(got, i) ? 1 : 0;
    }
    for (std::int64_t t = 0; t < in.texts; ++t) texts = std::min(texts, dot(reference.texts, t, got.texts, t));
    const double agreement = static_cast<double>(same) / static_cast<double>(in.images);
    std::printf("%-9s %s  largest difference %.1e  least cosine: images %.6f, texts %.6f  same top-1 %3.0f %%\n",
                s.name, precision.c_str(), largest, images, texts, 100 * agreement);
    report.json << (report.json.str().back() == '[' ? "" : ",") << "\n{\"model\":\"" << s.name << "\",\"precision\":\""
                << precision << "\",\"largestDifference\":" << (std::isinf(largest) ? -1 : largest)
                << ",\"imageCosine\":" << images << ",\"textCosine\":" << texts << ",\"top1Agreement\":" << agreement
                << "}";
  }
}

void speed(const Shape& s, const Options& options, Report& report, const core::PixelTable& table, double peak,
           const core::Json& torch) {
  const auto config = config_of(s);
  const auto in = sample_of(s, options.dry);
  std::vector<std::int64_t> batches{1, 8, 32, 128, 256, 512, 1024};
  if (options.quick) batches = {1, 32, 256, 1024};
  if (options.dry) batches = {1, 3};
  const auto put = [&](const std::string& row) {
    report.json << (report.json.str().back() == '[' ? "" : ",") << "\n" << row;
  };
  double bf16_at_pass = 0;
  for (const std::string precision : {"bf16", "fp16", "fp32"}) {
    const auto model = model_of(s, config, table, precision);
    for (const auto batch : batches) {
      const int repeats = options.dry ? 1 : batch <= 32 ? 50 : 10;
      const double images = static_cast<double>(batch) / model->time_images(batch, repeats);
      const double texts = static_cast<double>(batch) / model->time_texts(batch, kTextLength, repeats);
      // From the host's memory to the host's memory.
      std::vector<std::uint8_t> pixels;
      for (std::int64_t i = 0; i < batch; ++i) {
        const auto* from = in.pixels.data() + i % in.images * s.size * s.size * 3;
        pixels.insert(pixels.end(), from, from + s.size * s.size * 3);
      }
      Rows out(static_cast<std::size_t>(batch * s.embed));
      const auto whole = [&] { model->encode_pixels(pixels.data(), batch, out.data(), nullptr); };
      for (int i = 0; i < 3; ++i) whole();
      const int times = options.dry ? 1 : 10;
      const double host = static_cast<double>(batch) * times / seconds_of([&] {
                            for (int i = 0; i < times; ++i) whole();
                          });
      if (precision == "bf16") bf16_at_pass = std::max(bf16_at_pass, images);
      const double share = images * image_flops(s) / peak;
      const double eager = precision == "bf16" ? torch_speed(torch, s.name, batch, "eager") : 0;
      const double compiled = precision == "bf16" ? torch_speed(torch, s.name, batch, "compiled") : 0;
      std::printf(
          "%-9s %s %5lld  %9.0f images/s  %5.1f %% of the bf16 peak  %9.0f from host memory  %9.0f texts/s  eager %s  "
          "compiled %s\n",
          s.name, precision.c_str(), static_cast<long long>(batch), images, 100 * share, host, texts,
          ratio(images, eager).c_str(), ratio(images, compiled).c_str());
      std::ostringstream row;
      row << "{\"model\":\"" << s.name << "\",\"precision\":\"" << precision << "\",\"batch\":" << batch
          << ",\"imagesPerSecond\":" << images << ",\"imagesPerSecondFromHost\":" << host
          << ",\"textsPerSecond\":" << texts << ",\"peakShare\":" << share << ",\"eager\":" << eager
          << ",\"compiled\":" << compiled << "}";
      put(row.str());
    }
    const auto memory = model->memory();
    put("{\"model\":\"" + std::string(s.name) + "\",\"precision\":\"" + precision + "\",\"weightBytes\":" +
        std::to_string(memory.weights) + ",\"workspaceBytes\":" + std::to_string(memory.workspace) + "}");
    std::printf("%-9s %s  weights %.0f MB, workspace %.0f MB\n", s.name, precision.c_str(),
                static_cast<double>(memory.weights) / 1e6, static_cast<double>(memory.workspace) / 1e6);
  }
  setenv("TORCHCLIP_CUDA_GRAPHS", "0", 1);
  const double unrecorded = model_of(s, config, table, "bf16")->time_images(1, options.dry ? 1 : 50);
  unsetenv("TORCHCLIP_CUDA_GRAPHS");
  const double recorded = model_of(s, config, table, "bf16")->time_images(1, options.dry ? 1 : 50);
  std::printf("%-9s bf16 latency of one image: %.3f ms recorded, %.3f ms unrecorded\n", s.name, 1e3 * recorded,
              1e3 * unrecorded);
  for (const auto precision : {core::Precision::fp32, core::Precision::bf16}) {
    const char* label = core::name_of(precision);
    Cpu cpu(s, precision, config, table);
    Rows out(static_cast<std::size_t>(in.images * s.embed));
    cpu.images(in.pixels.data(), in.images, out.data());
    const double rate =
        static_cast<double>(in.images) / seconds_of([&] { cpu.images(in.pixels.data(), in.images, out.data()); });
    std::printf("%-9s CPU %s (%s) %8.1f images/s: CUDA bf16 is %.0f times as fast\n", s.name, label,
                core::kernels()->name, rate, bf16_at_pass / rate);
    std::ostringstream row;
    row << "{\"model\":\"" << s.name << "\",\"device\":\"cpu\",\"precision\":\"" << label
        << "\",\"batch\":" << in.images << ",\"imagesPerSecond\":" << rate << ",\"latencyRecorded\":" << recorded
        << ",\"latencyUnrecorded\":" << unrecorded << "}";
    put(row.str());
  }
}

int run(const Options& options) {
  core::Json torch;
  if (!options.torch.empty()) {
    std::ifstream file(options.torch);
    torch = core::Json::parse(std::string(std::istreambuf_iterator<char>(file), {}));
  }
  const double mean[] = {0.48145466, 0.4578275, 0.40821073}, deviation[] = {0.26862954, 0.26130258, 0.27577711};
  const core::PixelTable table(mean, deviation);
  const auto device = cuda::test_device();
  const double peak = cuda::gemm_peak(*device, options.dry ? 32 : 8192);
  std::printf("%s: bf16 products at %.0f TFLOP/s%s\n\n", device->name().c_str(), peak / 1e12,
              options.dry ? " (a dry run: no number here means anything)" : "");
  Report report;
  report.json << "{";
  report.begin("device");
  report.json << "\"" << device->name() << "\"";
  report.begin("dryRun");
  report.json << (options.dry ? "true" : "false");
  report.begin("bf16Peak");
  report.json << peak;
  report.begin("torch");
  report.json << "\"" << torch["torch"].text("none") << "\"";
  std::vector<Shape> shapes(std::begin(kShapes), std::end(kShapes));
  if (options.quick) shapes = {kShapes[0], kShapes[2]};
  if (options.dry) shapes = {kSmall};
  report.begin("accuracy");
  report.json << "[";
  for (const auto& s : shapes) accuracy(s, options, report, table);
  report.json << "]";
  std::printf("\n");
  report.begin("speed");
  report.json << "[";
  for (const auto& s : shapes) speed(s, options, report, table, peak, torch);
  report.json << "]}\n";
  const std::string temporary = options.json + ".tmp";
  std::ofstream(temporary) << report.json.str();
  if (std::rename(temporary.c_str(), options.json.c_str()) != 0) {
    std::fprintf(stderr, "%s cannot be written\n", options.json.c_str());
    return 1;
  }
  core::Json::parse(report.json.str());  // it is valid
  std::printf("\n%s\n", options.json.c_str());
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string a = arguments[i];
    if (a == "--quick") {
      options.quick = true;
    } else if (a == "--dry-run") {
      options.dry = true;
    } else if ((a == "--torch" || a == "--json") && i + 1 < count) {
      (a == "--torch" ? options.torch : options.json) = arguments[++i];
    } else {
      std::fprintf(stderr, "usage: %s [--quick] [--dry-run] [--torch FILE] [--json FILE]\n", arguments[0]);
      return 2;
    }
  }
  try {
    return run(options);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
