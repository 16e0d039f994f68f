// Every kernel of native/cuda against its reference, on the host's model of a GPU, or on the GPU where there is one.
#include "kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <vector>

#include "check.h"
#include "image/preprocess.h"
#include "image/resize_plan.h"
#include "reference_kernels.h"
#include "test_device.h"

using namespace torchclip::cuda;
namespace core = torchclip::core;

namespace {

std::vector<float> values(std::size_t n, unsigned seed) {
  std::vector<float> v(n);
  for (auto& x : v) x = static_cast<float>((seed = seed * 1664525u + 1013904223u) >> 8) / (1 << 22) - 2.0f;
  return v;
}

std::vector<std::uint8_t> bytes(std::size_t n, unsigned seed) {
  std::vector<std::uint8_t> v(n);
  for (auto& x : v) x = static_cast<std::uint8_t>((seed = seed * 1664525u + 1013904223u) >> 24);
  return v;
}

constexpr DType kNumbers[] = {DType::f32, DType::f16, DType::bf16};

class Bench {
 public:
  explicit Bench(Device& device) : device_(device) {}

  template <typename T>
  T* put(const std::vector<T>& v) {
    auto memory = device_.allocate(v.size() * sizeof(T));
    device_.upload(memory.get(), v.data(), v.size() * sizeof(T));
    kept_.push_back(memory);
    return static_cast<T*>(memory.get());
  }
  template <typename T>
  std::vector<T> get(const void* from, std::size_t n) {
    std::vector<T> v(n);
    device_.download(v.data(), from, n * sizeof(T));
    return v;
  }
  Stream stream() { return device_.stream(); }

  // The largest difference of `n` numbers on the device from those of the reference, which has the rounding of the
  // number.
  double difference(const void* on_device, const std::vector<char>& reference, DType number, std::int64_t n) {
    const auto host = get<char>(on_device, static_cast<std::size_t>(n * size_of(number)));
    double most = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const double a = reference::element(host.data(), number, i), b = reference::element(reference.data(), number, i);
      const double d = std::abs(a - b);
      most = std::isnan(d) ? INFINITY : std::max(most, d);
    }
    return most;
  }

 private:
  Device& device_;
  std::vector<Memory> kept_;
};

// One step of the number at 4 in magnitude.
double step(DType n) { return n == DType::f32 ? 4e-6 : n == DType::f16 ? 0.004 : 0.032; }

void numbers() {
  for (std::uint32_t i = 0; i < 0x10000; ++i) {  // there and back: every half, every bf16
    const auto bits = static_cast<std::uint16_t>(i);
    const float h = to_float(Half{bits}), b = to_float(Bf16{bits});
    CHECK(std::isnan(h) || from_float<Half>(h).bits == bits);
    CHECK(std::isnan(b) || from_float<Bf16>(b).bits == bits);
  }
  CHECK(to_float(from_float<Half>(1.0f / 3)) == 0.333251953125f && to_float(Half{0x0001}) == 5.9604644775390625e-08f);
  CHECK(from_float<Half>(65519.996f).bits == 0x7bff && from_float<Half>(65520.0f).bits == 0x7c00);
  CHECK(from_float<Half>(2.98023224e-08f).bits == 0 && from_float<Half>(2.98023260e-08f).bits == 1);
  CHECK(from_float<Half>(1.0f + 1.0f / 2048).bits == 0x3c00 && from_float<Half>(1.0f + 3.0f / 2048).bits == 0x3c02);
  CHECK(from_float<Bf16>(1.00390625f).bits == 0x3f80 && from_float<Bf16>(1.01171875f).bits == 0x3f82);
}

void patch_rows(Bench& t) {
  const auto table = values(768, 3);
  for (const auto& [rows, size, patch, stride] : {std::array<std::int64_t, 4>{2, 28, 14, 592}, {3, 32, 8, 192}}) {
    const auto pixels = bytes(static_cast<std::size_t>(rows * size * size * 3), 1);
    for (const auto number : kNumbers) {
      const std::int64_t n = rows * (size / patch) * (size / patch) * stride;
      std::vector<char> reference(static_cast<std::size_t>(n * size_of(number)));
      auto* out = t.put(std::vector<char>(reference.size(), 1));
      patches(t.stream(), t.put(pixels), rows, size, patch, stride, t.put(table), number, out);
      reference::patches(pixels.data(), rows, size, patch, stride, table.data(), number, reference.data());
      CHECK(t.difference(out, reference, number, n) == 0);
    }
  }
}

void norms(Bench& t) {
  for (const std::int64_t width : {4, 192, 260, 768, 1024, 1664, 2052}) {
    const std::int64_t rows = 11;
    const auto x = values(static_cast<std::size_t>(rows * width), 4), gamma = values(width, 5), beta = values(width, 6);
    const std::vector<std::int32_t> index{9, 0, 3, 3, 10};
    const auto* on = t.put(x);
    for (const auto number : kNumbers) {
      for (const bool indexed : {false, true}) {
        for (const int with : {0, 1, 2}) {  // conversion, gamma, gamma and beta
          const NormWeights host{with ? gamma.data() : nullptr, with > 1 ? beta.data() : nullptr, 1e-5f};
          const NormWeights device{with ? t.put(gamma) : nullptr, with > 1 ? t.put(beta) : nullptr, 1e-5f};
          const std::int64_t count = indexed ? 5 : rows, n = count * width;
          std::vector<char> reference(static_cast<std::size_t>(n * size_of(number)));
          auto* out = t.put(std::vector<char>(reference.size(), 1));
          layer_norm(t.stream(), on, width, indexed ? t.put(index) : nullptr, count, width, device, number, out);
          reference::layer_norm(x.data(), width, indexed ? index.data() : nullptr, count, width, host, number,
                                reference.data());
          CHECK(t.difference(out, reference, number, n) <= step(number) * 2);
        }
      }
    }
    const auto positions = values(static_cast<std::size_t>(5 * width), 7), token = values(width, 8);
    for (const bool has_token : {false, true}) {
      const std::int64_t n = 2 * (5 + (has_token ? 1 : 0)) * width;
      std::vector<char> reference(static_cast<std::size_t>(n) * 4);
      auto* out = t.put(std::vector<float>(n));
      assemble(t.stream(), on, t.put(positions), has_token ? t.put(token) : nullptr, 2, 5, width,
               {t.put(gamma), t.put(beta), 1e-6f}, out);
      reference::assemble(x.data(), positions.data(), has_token ? token.data() : nullptr, 2, 5, width,
                          {gamma.data(), beta.data(), 1e-6f}, reinterpret_cast<float*>(reference.data()));
      CHECK(t.difference(out, reference, DType::f32, n) <= 1e-5);
    }
  }
}

void activations(Bench& t) {
  for (const std::int64_t columns : {64, 7}) {
    const std::int64_t rows = 9, n = rows * columns;
    const auto x = values(static_cast<std::size_t>(n), 9), bias = values(columns, 10);
    for (const auto number : kNumbers) {
      for (const auto a : {Activation::none, Activation::quick_gelu, Activation::gelu, Activation::gelu_tanh,
                           Activation::relu, Activation::silu}) {
        std::vector<char> reference(static_cast<std::size_t>(n * size_of(number)));
        for (std::int64_t i = 0; i < n; ++i) reference::set(reference.data(), number, i, x[i]);
        auto* out = t.put(reference);
        bias_activation(t.stream(), out, number, rows, columns, a == Activation::relu ? nullptr : t.put(bias),
                        DType::f32, a);
        reference::bias_activation(reference.data(), number, rows, columns,
                                   a == Activation::relu ? nullptr : bias.data(), a);
        CHECK(t.difference(out, reference, number, n) <= step(number));
      }
      // A bias of the number itself.
      std::vector<char> reference(static_cast<std::size_t>(n * size_of(number))), own(columns * size_of(number));
      for (std::int64_t i = 0; i < n; ++i) reference::set(reference.data(), number, i, x[i]);
      for (std::int64_t i = 0; i < columns; ++i) reference::set(own.data(), number, i, bias[i]);
      auto* out = t.put(reference);
      bias_activation(t.stream(), out, number, rows, columns, t.put(own), number, Activation::none);
      std::vector<float> rounded(columns);
      for (std::int64_t i = 0; i < columns; ++i) rounded[i] = reference::element(own.data(), number, i);
      reference::bias_activation(reference.data(), number, rows, columns, rounded.data(), Activation::none);
      CHECK(t.difference(out, reference, number, n) <= step(number));
    }
  }
}

void rows_of(Bench& t) {
  const std::int64_t width = 36;
  const auto x = values(12 * width, 11);
  const std::vector<std::int32_t> index{7, 7, 0, 11};
  std::vector<char> reference(static_cast<std::size_t>(4 * width) * 4);
  auto* out = t.put(std::vector<float>(4 * width));
  gather(t.stream(), t.put(x), t.put(index), 4, width, out);
  reference::gather(x.data(), index.data(), 4, width, reinterpret_cast<float*>(reference.data()));
  CHECK(t.difference(out, reference, DType::f32, 4 * width) == 0);
  average(t.stream(), t.put(x), 3, 4, 1, width, out);
  reference::average(x.data(), 3, 4, 1, width, reinterpret_cast<float*>(reference.data()));
  CHECK(t.difference(out, reference, DType::f32, 3 * width) <= 1e-6);
  const std::vector<std::int32_t> ids{3, 0, 2}, places{0, 1, 2};
  const auto position = values(3 * width, 12);
  for (const auto number : kNumbers) {
    std::vector<char> table(static_cast<std::size_t>(4 * width * size_of(number)));
    for (std::int64_t i = 0; i < 4 * width; ++i) reference::set(table.data(), number, i, x[i]);
    embed_tokens(t.stream(), t.put(ids), t.put(places), 3, t.put(table), number, t.put(position), width, out);
    reference::embed_tokens(ids.data(), places.data(), 3, table.data(), number, position.data(), width,
                            reinterpret_cast<float*>(reference.data()));
    CHECK(t.difference(out, reference, DType::f32, 3 * width) == 0);
  }
}

// The resize kernels against preprocess(), whose bytes are Pillow's.
void images(Bench& t) {
  const core::Transform transforms[] = {
      {32, core::Resize::kShortest, core::Filter::kBicubic, 0},
      {32, core::Resize::kSquash, core::Filter::kBilinear, 0},
      {32, core::Resize::kLongest, core::Filter::kBicubic, 127},
      {32, core::Resize::kShortest, core::Filter::kLanczos, 0, 37, core::Crop::kFloor},
      {32, core::Resize::kSquash, core::Filter::kBox, 0, 37, core::Crop::kFloor},
      {32, core::Resize::kShortest, core::Filter::kHamming, 0}};
  const std::array<std::int32_t, 3> shapes[] = {{1, 1, 3},    {32, 32, 3},  {64, 48, 3}, {31, 90, 4}, {200, 40, 1},
                                                {40, 500, 3}, {32, 300, 4}, {7, 5, 1},   {33, 32, 3}, {300, 300, 3}};
  for (const auto& transform : transforms) {
    std::vector<ResizeJob> jobs;
    std::vector<std::vector<std::uint8_t>> expected;
    std::vector<const std::uint8_t*> results;
    std::int64_t most = 0;
    unsigned seed = 20;
    for (const auto& [w, h, channels] : shapes) {
      const auto pixels = bytes(static_cast<std::size_t>(w) * h * channels, ++seed);
      expected.emplace_back(32 * 32 * 3);
      core::preprocess({pixels.data(), w, h, channels}, transform, expected.back().data());
      const auto plan = core::plan_resize(w, h, channels, transform);
      auto* out = t.put(std::vector<std::uint8_t>(32 * 32 * 3, plan.fill));
      jobs.push_back({t.put(pixels), t.put(std::vector<std::uint8_t>(plan.shape.between_bytes())), out,
                      t.put(plan.x_taps), t.put(plan.y_taps), t.put(plan.x_weights), t.put(plan.y_weights),
                      plan.shape});
      results.push_back(out);
      most = std::max({most, plan.shape.between_bytes(), std::int64_t{32 * 32 * 3}});
    }
    resize(t.stream(), t.put(jobs), static_cast<std::int64_t>(jobs.size()), most);
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      CHECK(t.get<std::uint8_t>(results[i], expected[i].size()) == expected[i]);
    }
  }
}

void selection(Bench& t) {
  CHECK(key_of(1.0f, 3) > key_of(1.0f, 4) && key_of(0.5f, 9) > key_of(-0.5f, 0) && key_of(-1.0f, 0) < key_of(-0.9f, 5));
  CHECK(key_of(0.0f, 1) > key_of(-0.0f, 2) && key_of(-0.0f, 1) > key_of(0.0f, 2));
  CHECK(key_of(NAN, 0) < key_of(-INFINITY, 7) && key_of(NAN, 1) > 0 && std::isnan(score_of(key_of(NAN, 1))));
  CHECK(score_of(key_of(-0.25f, 77)) == -0.25f && row_of(key_of(-0.25f, 77)) == 77);
  const std::int64_t queries = 3, columns = 5000, chunk = 1999;
  auto scores = values(static_cast<std::size_t>(queries * columns), 30);
  for (std::size_t i = 0; i < scores.size(); i += 3) scores[i] = 1.5f;           // many ties
  for (std::int64_t i = 0; i < columns; ++i) scores[i] = static_cast<float>(i);  // each better than all before
  for (const std::int32_t k : {1, 10, 1024}) {
    auto* best = t.put(std::vector<std::uint64_t>(static_cast<std::size_t>(queries * k), 0));
    for (std::int64_t first = 0; first < columns; first += chunk) {
      const std::int64_t n = std::min(chunk, columns - first);
      std::vector<float> part;
      for (std::int64_t q = 0; q < queries; ++q) {
        part.insert(part.end(), &scores[q * columns + first], &scores[q * columns + first] + n);
      }
      select_top_k(t.stream(), t.put(part), queries, n, n, first, k, best);
    }
    const auto keys = t.get<std::uint64_t>(best, static_cast<std::size_t>(queries * k));
    for (std::int64_t q = 0; q < queries; ++q) {
      std::vector<std::int32_t> order(columns);
      std::iota(order.begin(), order.end(), 0);
      const float* row = &scores[q * columns];
      std::stable_sort(order.begin(), order.end(), [row](auto a, auto b) { return row[a] > row[b]; });
      bool same = true;
      for (std::int32_t i = 0; i < k; ++i) {
        same = same && row_of(keys[q * k + i]) == static_cast<std::uint32_t>(order[i]) &&
               score_of(keys[q * k + i]) == row[order[i]];
      }
      CHECK(same);
    }
  }
}

}  // namespace

int main() {
  const auto device = test_device();
  std::printf("on %s\n", device->name().c_str());
  Bench bench(*device);
  numbers();
  patch_rows(bench);
  norms(bench);
  activations(bench);
  rows_of(bench);
  images(bench);
  selection(bench);
  return torchclip::test::failures();
}
