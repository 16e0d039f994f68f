#include "model/fast/packed.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "runtime/error.h"

namespace torchclip::core {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kLine = 64;
// Panels that a task multiplies its rows with should stay in a core's second cache.
constexpr std::int64_t kCachedBytes = 384 << 10;
constexpr std::int64_t kBlockRows = 448;  // the more, the less often weights are read again
constexpr std::int64_t kTasksPerThread = 24;
constexpr std::int64_t kFewerTasks = 6;  // as many times fewer suffice where more would split rows
// A longer inner side is added up in passes of this many steps, so that many rows of A and a panel fit that cache.
constexpr std::int64_t kPassSteps = 1024;

}  // namespace

Buffer::Buffer(std::size_t bytes) : bytes_(bytes) {
  void* data = nullptr;
  const bool huge = bytes >= kHugePage;
  if (posix_memalign(&data, huge ? kHugePage : kLine, std::max(bytes, kLine)) != 0) throw std::bad_alloc();
#if defined(__linux__)
  if (huge) madvise(data, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  data_ = {data, std::free};
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

std::int64_t Linear::passes(const Output& out) const {
  // Sums can only be continued where they are stored as they are.
  const bool splits = type_ != Type::s8 && out.type == Type::f32 && out.activation == Activation::none;
  return splits ? (steps_ + kPassSteps - 1) / kPassSteps : 1;
}

void Linear::part(const Kernels& kernels, const Input& in, const Output& out, std::int64_t row_begin,
                  std::int64_t row_end, std::int64_t panel_begin, std::int64_t panel_end) const {
  Product p;
  p.lda = in.stride;
  p.panelSteps = steps_;
  p.columns = columns_;
  p.bias = bias_.data();
  p.columnScale = scales_.data();
  p.rowScale = in.scales;
  p.rowSum = in.sums;
  p.activation = out.activation;
  p.out = out.data;
  p.ldo = out.stride;
  p.outType = out.type;
  p.residual = out.residual;
  p.ldr = out.residualStride;
  const std::int64_t count = passes(out);
  for (std::int64_t pass = 0; pass < count; ++pass) {
    const std::int64_t from = pass * steps_ / count, to = (pass + 1) * steps_ / count;
    p.a = static_cast<const char*>(in.data) + from * 4;
    p.weights = packed_.as<char>() + from * kPanel * 4;
    p.steps = to - from;
    kernels.multiply[static_cast<int>(type_)](p, row_begin, row_end, panel_begin, panel_end);
    p.bias = nullptr;
    p.residual = static_cast<const float*>(p.out);
    p.ldr = p.ldo;
  }
}

void Linear::multiply_here(const Kernels& kernels, const Input& in, std::int64_t rows, const Output& out) const {
  part(kernels, in, out, 0, rows, 0, round_up(columns_, kPanel) / kPanel);
}

void Linear::multiply_panel(const Kernels& kernels, const Input& in, std::int64_t rows, const Output& out,
                            std::int64_t panel) const {
  Product p;
  p.a = in.data;
  p.lda = in.stride;
  p.weights = packed_.as<char>() + panel * steps_ * kPanel * 4;
  p.steps = p.panelSteps = steps_;
  p.columns = kPanel;
  p.columnScale = scales_.empty() ? nullptr : scales_.data() + panel * kPanel;
  p.rowScale = in.scales;
  p.rowSum = in.sums;
  p.out = out.data;
  p.ldo = out.stride;
  kernels.multiply[static_cast<int>(type_)](p, 0, rows, 0, 1);
}

void Linear::multiply(const Context& context, const Input& in, std::int64_t rows, const Output& out) const {
  if (rows <= 0) return;
  const std::int64_t panels = round_up(columns_, kPanel) / kPanel;
  const std::int64_t tile = context.kernels.tileRows[static_cast<int>(type_)];
  const std::int64_t panel_bytes = steps_ / passes(out) * kPanel * 4;
  const std::int64_t together = std::max<std::int64_t>(1, kCachedBytes / std::max<std::int64_t>(1, panel_bytes));
  // Enough tasks for all threads: first of fewer panels, then of fewer rows.
  const std::int64_t wanted = context.team.size() == 1 ? 1 : context.team.size() * kTasksPerThread;
  std::int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  const std::int64_t parts = std::min(panels, std::max((panels + together - 1) / together, wanted / blocks));
  blocks = std::min((rows + tile - 1) / tile, std::max(blocks, wanted / kFewerTasks / parts));
  context.team.each(blocks * parts, [&](std::int64_t task) {
    const std::int64_t i = task % parts, block = task / parts;
    part(context.kernels, in, out, block * rows / blocks, (block + 1) * rows / blocks, i * panels / parts,
         (i + 1) * panels / parts);
  });
}

}  // namespace torchclip::core
