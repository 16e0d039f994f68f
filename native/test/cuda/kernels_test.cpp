// The kernels of the towers against their references, on the host's model of a GPU, or on the GPU where there is one.
#include "kernels.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "bench.h"
#include "check.h"

using namespace torchclip::cuda;
using torchclip::test::name_of;

TEST_CASE("patches: pixels become rows of normalised numbers, with zeros behind them") {
  struct Case {
    std::int64_t rows, size, patch, stride;
  };
  Bench bench;
  const auto table = wide_values(768, 3);
  for (const Case& c : {Case{2, 28, 14, 592}, Case{3, 32, 8, 192}}) {
    const auto pixels = random_bytes(c.rows * c.size * c.size * 3, 1);
    for (const auto number : kNumbers) {
      CAPTURE(name_of(number));
      CAPTURE(c.size);
      CAPTURE(c.patch);
      HostArray expected(number, c.rows * (c.size / c.patch) * (c.size / c.patch) * c.stride);
      auto* out = bench.room(expected);
      patches(bench.stream(), bench.put(pixels), c.rows, c.size, c.patch, c.stride, bench.put(table), number, out);
      reference::patches(pixels.data(), c.rows, c.size, c.patch, c.stride, table.data(), number, expected.data());
      CHECK(bench.difference(out, expected) == 0);
    }
  }
}

TEST_CASE("layer norm: rows of every width, named or in order, with and without gamma and beta") {
  constexpr std::int64_t kRows = 11;
  const std::vector<std::int32_t> named{9, 0, 3, 3, 10};
  for (const std::int64_t width : {4, 192, 260, 768, 1024, 1664, 2052}) {
    Bench bench;
    const auto x = wide_values(kRows * width, 4), gamma = wide_values(width, 5), beta = wide_values(width, 6);
    const auto* on_device = bench.put(x);
    for (const auto number : kNumbers) {
      for (const bool is_named : {false, true}) {
        for (const int weights : {0, 1, 2}) {  // conversion, gamma, gamma and beta
          CAPTURE(width);
          CAPTURE(name_of(number));
          CAPTURE(is_named);
          CAPTURE(weights);
          const NormWeights on_host{weights > 0 ? gamma.data() : nullptr, weights > 1 ? beta.data() : nullptr, 1e-5f};
          const NormWeights device{weights > 0 ? bench.put(gamma) : nullptr, weights > 1 ? bench.put(beta) : nullptr,
                                   1e-5f};
          const std::int64_t count = is_named ? 5 : kRows;
          HostArray expected(number, count * width);
          auto* out = bench.room(expected);
          layer_norm(bench.stream(), on_device, width, is_named ? bench.put(named) : nullptr, count, width, device,
                     number, out);
          reference::layer_norm(x.data(), width, is_named ? named.data() : nullptr, count, width, on_host, number,
                                expected.data());
          CHECK(bench.difference(out, expected) <= rounding_step(number) * 2);
        }
      }
    }
  }
}

TEST_CASE("add and norm: rows of every width plus none, one or two deltas, with and without storing the sum") {
  constexpr std::int64_t kRows = 11;
  for (const std::int64_t width : {4, 192, 260, 768, 1024, 1664, 2052}) {
    Bench bench;
    const auto values = wide_values(kRows * width, 4), gamma = wide_values(width, 5), beta = wide_values(width, 6);
    const HostArray first(DType::bf16, wide_values(kRows * width, 7)),
        second(DType::bf16, wide_values(kRows * width, 8));
    for (const int deltas : {0, 1, 2}) {
      for (const bool stores : {false, true}) {
        CAPTURE(width);
        CAPTURE(deltas);
        CAPTURE(stores);
        HostArray x(DType::f32, values), expected(DType::bf16, kRows * width);
        auto* stream = reinterpret_cast<float*>(bench.put(x.bytes));
        auto* out = bench.room(expected);
        add_norm(bench.stream(), stream,
                 {deltas > 0 ? bench.put_bf16s(first) : nullptr, deltas > 1 ? bench.put_bf16s(second) : nullptr},
                 stores, kRows, width, {bench.put(gamma), bench.put(beta), 1e-5f}, {DType::bf16, 1}, out);
        reference::add_norm(x.floats(), {deltas > 0 ? first.bf16s() : nullptr, deltas > 1 ? second.bf16s() : nullptr},
                            stores, kRows, width, {gamma.data(), beta.data(), 1e-5f}, {DType::bf16, 1},
                            expected.data());
        CHECK(bench.difference(out, expected) <= rounding_step(DType::bf16) * 2);
        CHECK(bench.difference(stream, x) == 0);
      }
    }
  }
}

TEST_CASE("add and norm: the sum alone") {
  constexpr std::int64_t kRows = 3;
  for (const std::int64_t width : {64, 2052}) {
    CAPTURE(width);
    Bench bench;
    HostArray x(DType::f32, wide_values(kRows * width, 4));
    const HostArray delta(DType::bf16, wide_values(kRows * width, 7));
    auto* stream = reinterpret_cast<float*>(bench.put(x.bytes));
    add_norm(bench.stream(), stream, {bench.put_bf16s(delta), nullptr}, true, kRows, width, {}, {DType::bf16, 1},
             nullptr);
    reference::add_norm(x.floats(), {delta.bf16s(), nullptr}, true, kRows, width, {}, {DType::bf16, 1}, nullptr);
    CHECK(bench.difference(stream, x) == 0);
  }
}

TEST_CASE("assemble: embedded patches with positions, with and without a class token, normalised") {
  constexpr std::int64_t kRows = 2, kPatches = 5;
  for (const std::int64_t width : {4, 192, 260, 768, 1024, 1664, 2052}) {
    Bench bench;
    const auto x = wide_values(11 * width, 4), gamma = wide_values(width, 5), beta = wide_values(width, 6);
    const auto positions = wide_values(kPatches * width, 7), token = wide_values(width, 8);
    for (const bool has_token : {false, true}) {
      CAPTURE(width);
      CAPTURE(has_token);
      HostArray expected(DType::f32, kRows * (kPatches + (has_token ? 1 : 0)) * width);
      auto* out = static_cast<float*>(bench.room(expected));
      assemble(bench.stream(), bench.put(x), bench.put(positions), has_token ? bench.put(token) : nullptr, kRows,
               kPatches, width, {bench.put(gamma), bench.put(beta), 1e-6f}, out);
      reference::assemble(x.data(), positions.data(), has_token ? token.data() : nullptr, kRows, kPatches, width,
                          {gamma.data(), beta.data(), 1e-6f}, expected.floats());
      CHECK(bench.difference(out, expected) <= 1e-5);
    }
  }
}

TEST_CASE("bias and activation: every activation of every number, with and without a bias") {
  constexpr std::int64_t kRows = 9;
  Bench bench;
  for (const std::int64_t columns : {64, 7}) {
    const auto x = wide_values(kRows * columns, 9), bias = wide_values(columns, 10);
    for (const auto number : kNumbers) {
      for (const auto activation : {Activation::none, Activation::quick_gelu, Activation::gelu, Activation::gelu_tanh,
                                    Activation::relu, Activation::silu}) {
        CAPTURE(columns);
        CAPTURE(name_of(number));
        CAPTURE(static_cast<int>(activation));
        const bool has_bias = activation != Activation::relu;
        HostArray expected(number, x);
        auto* out = bench.put(expected.bytes);
        bias_activation(bench.stream(), out, number, kRows, columns, has_bias ? bench.put(bias) : nullptr, DType::f32,
                        activation);
        reference::bias_activation(expected.data(), number, kRows, columns, has_bias ? bias.data() : nullptr,
                                   activation);
        CHECK(bench.difference(out, expected) <= rounding_step(number));
      }
    }
  }
}

TEST_CASE("bias and activation: a bias of the number itself") {
  constexpr std::int64_t kRows = 9;
  Bench bench;
  for (const std::int64_t columns : {64, 7}) {
    const auto x = wide_values(kRows * columns, 9), bias = wide_values(columns, 10);
    for (const auto number : kNumbers) {
      CAPTURE(columns);
      CAPTURE(name_of(number));
      HostArray expected(number, x);
      const HostArray own(number, bias);
      std::vector<float> rounded;
      for (std::int64_t i = 0; i < columns; ++i) rounded.push_back(own.at(i));
      auto* out = bench.put(expected.bytes);
      bias_activation(bench.stream(), out, number, kRows, columns, bench.put(own.bytes), number, Activation::none);
      reference::bias_activation(expected.data(), number, kRows, columns, rounded.data(), Activation::none);
      CHECK(bench.difference(out, expected) <= rounding_step(number));
    }
  }
}

TEST_CASE("gather: the rows that are named, also twice") {
  constexpr std::int64_t kWidth = 36;
  Bench bench;
  const auto x = wide_values(12 * kWidth, 11);
  const std::vector<std::int32_t> index{7, 7, 0, 11};
  HostArray expected(DType::f32, 4 * kWidth);
  auto* out = static_cast<float*>(bench.room(expected));
  gather(bench.stream(), bench.put(x), bench.put(index), 4, kWidth, out);
  reference::gather(x.data(), index.data(), 4, kWidth, expected.floats());
  CHECK(bench.difference(out, expected) == 0);
}

TEST_CASE("average: the tokens of a sequence from the first on") {
  constexpr std::int64_t kWidth = 36;
  Bench bench;
  const auto x = wide_values(12 * kWidth, 11);
  HostArray expected(DType::f32, 3 * kWidth);
  auto* out = static_cast<float*>(bench.room(expected));
  average(bench.stream(), bench.put(x), 3, 4, 1, kWidth, out);
  reference::average(x.data(), 3, 4, 1, kWidth, expected.floats());
  CHECK(bench.difference(out, expected) <= 1e-6);
}

TEST_CASE("normalize: rows of every width have length 1, a row of zeros is no number") {
  for (const std::int64_t width : {1, 31, 32, 36, 512, 1024}) {
    CAPTURE(width);
    Bench bench;
    constexpr std::int64_t kRows = 11;
    HostArray rows(DType::f32, wide_values(kRows * width, 13));
    auto* on_device = reinterpret_cast<float*>(bench.put(rows.bytes));
    normalize(bench.stream(), on_device, kRows, width);
    reference::normalize(rows.floats(), kRows, width);
    CHECK(bench.difference(on_device, rows) <= 1e-6);
  }
  Bench bench;
  auto* zeros = bench.put(std::vector<float>(36, 0.0f));
  normalize(bench.stream(), zeros, 1, 36);
  CHECK(std::isnan(bench.get<float>(zeros, 1)[0]));
}

TEST_CASE("fill values: numbers spread from -1 to 1, the same each time") {
  constexpr std::int64_t kCount = 10000;
  for (const auto number : kNumbers) {
    CAPTURE(name_of(number));
    Bench bench;
    HostArray expected(number, kCount);
    auto* out = bench.room(expected);
    fill_values(bench.stream(), number, kCount, out);
    double sum = 0, squares = 0;
    for (std::int64_t i = 0; i < kCount; ++i) {
      reference::set(expected.data(), number, i, value_at(i));
      sum += value_at(i);
      squares += static_cast<double>(value_at(i)) * value_at(i);
    }
    CHECK(bench.difference(out, expected) == 0);
    CHECK(std::abs(sum / kCount) < 0.02);  // uniform numbers have mean 0
    CHECK(std::abs(squares / kCount - 1.0 / 3) < 0.02);
  }
}

TEST_CASE("compare: the largest difference and the largest number") {
  for (const auto number : kNumbers) {
    CAPTURE(name_of(number));
    for (const std::int64_t count : {1, 300, 70000}) {
      Bench bench;
      const auto values = wide_values(count, 14);
      HostArray a(number, values), b(number, values);
      const std::int64_t last = count - 1;
      reference::set(a.data(), number, last, -3);
      reference::set(b.data(), number, last, -2.5f);
      const auto found = [&] {
        auto* difference = bench.put(std::vector<float>{0, 0});
        compare(bench.stream(), bench.put(a.bytes), bench.put(b.bytes), number, count, difference);
        return bench.get<float>(difference, 2);
      };
      CHECK(found()[0] == 0.5f);
      CHECK(found()[1] == 3.0f);
      reference::set(b.data(), number, last, NAN);
      CHECK(std::isnan(found()[0]));
      for (auto* array : {&a, &b}) reference::set(array->data(), number, last, INFINITY);
      CHECK(found()[0] == 0);
    }
  }
}

TEST_CASE("embed tokens: rows of a table of every number, with positions") {
  constexpr std::int64_t kWidth = 36;
  Bench bench;
  const std::vector<std::int32_t> ids{3, 0, 2}, places{0, 1, 2};
  const auto positions = wide_values(3 * kWidth, 12);
  for (const auto number : kNumbers) {
    CAPTURE(name_of(number));
    HostArray table(number, wide_values(4 * kWidth, 11)), expected(DType::f32, 3 * kWidth);
    auto* out = static_cast<float*>(bench.room(expected));
    embed_tokens(bench.stream(), bench.put(ids), bench.put(places), 3, bench.put(table.bytes), number,
                 bench.put(positions), kWidth, out);
    reference::embed_tokens(ids.data(), places.data(), 3, table.data(), number, positions.data(), kWidth,
                            expected.floats());
    CHECK(bench.difference(out, expected) == 0);
  }
}
