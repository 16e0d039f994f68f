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

void Linear::multiply(const Context& context, const Input& in, std::int64_t rows, const Output& out,
                      std::int64_t groups, std::int64_t input_distance, std::int64_t output_distance) const {
  if (rows <= 0 || groups <= 0) return;
  const auto kind = static_cast<int>(type_);
  const auto run = context.kernels.multiply[kind];
  const std::int64_t panels = round_up(columns_, kPanel) / kPanel;
  const std::int64_t tile = context.kernels.tileRows[kind];
  // Sums can only be continued where they are stored as they are.
  const bool splits = type_ != Type::s8 && out.type == Type::f32 && out.activation == Activation::none;
  const std::int64_t passes = splits ? (steps_ + kPassSteps - 1) / kPassSteps : 1;
  const std::int64_t pass_bytes = round_up(steps_, passes) / passes * kPanel * 4;
  const std::int64_t together = std::max<std::int64_t>(1, kCachedBytes / pass_bytes);
  // Enough tasks for all threads: first of fewer panels, then of fewer rows.
  const std::int64_t wanted = context.team.size() == 1 ? 1 : context.team.size() * kTasksPerThread;
  std::int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  const std::int64_t parts = std::min(panels, std::max((panels + together - 1) / together, wanted / (blocks * groups)));
  blocks = std::min((rows + tile - 1) / tile, std::max(blocks, wanted / kFewerTasks / (parts * groups)));
  context.team.each(groups * blocks * parts, [&](std::int64_t task) {
    const std::int64_t part = task % parts, block = task / parts % blocks, group = task / parts / blocks;
    Product p;
    p.lda = in.stride;
    p.panelSteps = steps_;
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
    const char* a = static_cast<const char*>(in.data) + group * input_distance;
    for (std::int64_t pass = 0; pass < passes; ++pass) {
      const std::int64_t from = pass * steps_ / passes, to = (pass + 1) * steps_ / passes;
      p.a = a + from * 4;
      p.weights = packed_.as<char>() + from * kPanel * 4;
      p.steps = to - from;
      run(p, block * rows / blocks, (block + 1) * rows / blocks, part * panels / parts, (part + 1) * panels / parts);
      p.bias = nullptr;
      p.residual = static_cast<const float*>(p.out);
      p.ldr = p.ldo;
    }
  });
}

}  // namespace torchclip::core
