#include "model/fast/packed.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace torchclip::core {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kLine = 64;
// Rows that a task multiplies with one panel after another should stay in a core's second cache.
constexpr std::int64_t kCachedBytes = 384 << 10;
constexpr std::int64_t kTasksPerThread = 8;

}  // namespace

Buffer::Buffer(std::size_t bytes) {
  const std::size_t align = bytes >= kHugePage ? kHugePage : kLine;
  const std::size_t whole = (std::max(bytes, kLine) + align - 1) / align * align;
  void* data = std::aligned_alloc(align, whole);
  if (!data) throw std::bad_alloc();
#if defined(__linux__)
  if (align == kHugePage) madvise(data, whole, MADV_HUGEPAGE);
#endif
  data_ = {data, std::free};
  bytes_ = whole;
}

Linear::Linear(const Context& context, Type type, const float* weight, const float* bias, std::int64_t columns,
               std::int64_t inner, const float* scale, float scale_all)
    : type_(type), columns_(columns), inner_(inner), steps_(round_up(inner, step_of(type)) / step_of(type)) {
  const std::int64_t padded = round_up(columns, kPanel);
  packed_ = Buffer(static_cast<std::size_t>(padded * steps_ * 4));
  bias_.assign(padded, 0.0f);
  scales_.assign(type == Type::s8 ? padded : 0, 0.0f);
  const auto factor = [&](std::int64_t column) { return scale ? scale[column] * scale_all : scale_all; };
  if (bias) {
    for (std::int64_t i = 0; i < columns; ++i) bias_[i] = bias[i] * factor(i);
  }
  const bool scaled = scale || scale_all != 1;
  context.team.each(padded / kPanel, [&](std::int64_t p) {
    const std::int64_t first = p * kPanel, rows = std::min(kPanel, columns - first);
    const float* from = weight + first * inner;
    std::vector<float> copy;
    if (scaled) {
      copy.assign(from, from + rows * inner);
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t k = 0; k < inner; ++k) copy[r * inner + k] *= factor(first + r);
      }
      from = copy.data();
    }
    pack_panel(from, inner, rows, inner, type, context.kernels.weightMax, p, packed_.as<void>(),
               scales_.empty() ? nullptr : scales_.data() + first);
  });
}

void Linear::multiply(const Context& context, const Input& in, std::int64_t rows, const Output& out,
                      std::int64_t groups, std::int64_t input_distance, std::int64_t output_distance) const {
  if (rows <= 0 || groups <= 0) return;
  const auto kind = static_cast<int>(type_);
  const auto run = context.kernels.multiply[kind];
  const std::int64_t panels = round_up(columns_, kPanel) / kPanel;
  const std::int64_t tile = context.kernels.tileRows[kind];
  const std::int64_t cached =
      std::max<std::int64_t>(tile, kCachedBytes / std::max<std::int64_t>(1, in.stride) / tile * tile);
  const std::int64_t blocks = (rows + cached - 1) / cached;
  // Enough tasks for all threads, each of as many panels as that leaves.
  const std::int64_t wanted = context.team.size() == 1 ? 1 : context.team.size() * kTasksPerThread;
  const std::int64_t parts = std::min(panels, std::max<std::int64_t>(1, wanted / (blocks * groups)));
  context.team.each(groups * blocks * parts, [&](std::int64_t task) {
    const std::int64_t part = task % parts, block = task / parts % blocks, group = task / parts / blocks;
    Product p;
    p.a = static_cast<const char*>(in.data) + group * input_distance;
    p.lda = in.stride;
    p.weights = packed_.as<void>();
    p.steps = steps_;
    p.columns = columns_;
    p.bias = bias_.data();
    p.columnScale = scales_.data();
    p.rowScale = in.scales ? in.scales + group * rows : nullptr;
    p.rowSum = in.sums ? in.sums + group * rows : nullptr;
    p.activation = out.activation;
    p.out = static_cast<char*>(out.data) + group * output_distance * size_of(out.type);
    p.ldo = out.stride;
    p.outType = out.type;
    p.residual = out.residual == out.data && out.residual ? static_cast<const float*>(p.out) : out.residual;
    p.ldr = out.residualStride;
    run(p, block * rows / blocks, (block + 1) * rows / blocks, part * panels / parts, (part + 1) * panels / parts);
  });
}

}  // namespace torchclip::core
