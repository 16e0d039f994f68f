#include "linalg/packed.h"

#include <algorithm>
#include <atomic>

#include "base/item.h"
#include "base/platform_memory.h"

namespace torchclip::core {
namespace {

// Returns the size of a task's panels. They stay in a core's second cache together with some rows and the panels of the
// thread's next task, which are prefetched in the meantime.
std::int64_t cached_bytes() {
  constexpr std::int64_t kLeast = 128 << 10, kMost = 512 << 10;
  static const std::int64_t bytes = std::clamp(second_cache_bytes() * 2 / 5, kLeast, kMost);
  return bytes;
}
constexpr std::int64_t kBlockRows = 448;  // With more rows in a block, weights are read again less often.
constexpr std::int64_t kTasksPerThread = 24;
constexpr std::int64_t kFewerTasks = 6;  // So many times fewer tasks suffice where more tasks would split rows.
// A longer inner dimension is added up in passes of this many steps, so that many rows of A and a panel fit the cache.
constexpr std::int64_t kPassSteps = 1024;

// The distribution of tasks to threads. Each thread has consecutive tasks of its own, so that the weights that it needs
// next are known. A thread without tasks takes over the last one of another thread.
class Shares {
 public:
  Shares(std::int64_t tasks, int threads) : shares_(static_cast<std::size_t>(threads)) {
    for (int i = 0; i < threads; ++i) item(shares_, i).state = pack(i * tasks / threads, (i + 1) * tasks / threads);
  }
  // Returns a task for this thread. Call it once for each task.
  std::int64_t take(int thread) {
    for (std::int64_t task;;) {
      if ((task = take_first(item(shares_, thread))) >= 0) return task;
      for (auto& other : shares_) {
        if ((task = take_last(other)) >= 0) return task;
      }
    }
  }
  // Returns the task that this thread takes next if no other thread does, or -1 if it has none.
  std::int64_t next(int thread) const {
    const auto state = item(shares_, thread).state.load(std::memory_order_relaxed);
    return begin_of(state) < end_of(state) ? begin_of(state) : -1;
  }

 private:
  struct alignas(kAlignment) Share {
    std::atomic<std::uint64_t> state{0};  // first and end
  };
  static std::uint64_t pack(std::int64_t begin, std::int64_t end) {
    return static_cast<std::uint64_t>(begin) << 32 | static_cast<std::uint64_t>(end);
  }
  static std::int64_t begin_of(std::uint64_t state) { return static_cast<std::int64_t>(state >> 32); }
  static std::int64_t end_of(std::uint64_t state) { return static_cast<std::int64_t>(state & 0xffffffff); }
  static std::int64_t take_first(Share& share) {
    auto state = share.state.load(std::memory_order_relaxed);
    while (begin_of(state) < end_of(state)) {
      const auto begin = begin_of(state);
      if (share.state.compare_exchange_weak(state, pack(begin + 1, end_of(state)), std::memory_order_relaxed))
        return begin;
    }
    return -1;
  }
  static std::int64_t take_last(Share& share) {
    auto state = share.state.load(std::memory_order_relaxed);
    while (begin_of(state) < end_of(state)) {
      const auto last = end_of(state) - 1;
      if (share.state.compare_exchange_weak(state, pack(begin_of(state), last), std::memory_order_relaxed)) return last;
    }
    return -1;
  }

  std::vector<Share> shares_;
};

// 16-bit weights are widened once for all rows of a task that has at least so many tiles of rows. For fewer tiles the
// kernel widens them as it reads them, which saves the way through memory.
constexpr std::int64_t kWidenTiles = 8;

struct Scratch {
  float* data = nullptr;
  std::int64_t panels = 0;
};

// Returns this thread's memory for widened panels of `steps` steps, about as large as a task's share of the second
// cache.
Scratch scratch_for(std::int64_t steps, std::int64_t panels) {
  static thread_local Buffer buffer;
  const auto bytes = steps * kPanel * static_cast<std::int64_t>(sizeof(float));
  const auto count = std::min(panels, std::max<std::int64_t>(1, cached_bytes() / bytes));
  buffer.grow(static_cast<std::size_t>(count * bytes));
  return {buffer.as<float>(), count};
}

}  // namespace

Linear::Linear(const Context& context, Precision precision, const float* weight, const float* bias,
               std::int64_t columns, std::int64_t inner, const float* scale, float scale_all)
    : kernel_(context.kernels.gemm(precision)), columns_(columns), inner_(inner), steps_(kernel_.format.steps(inner)) {
  const std::int64_t padded = round_up(columns, kPanel);
  packed_ = Buffer(static_cast<std::size_t>(padded * steps_ * kernel_.format.bytes()));
  bias_.resize(static_cast<std::size_t>(padded));
  if (precision == Precision::int8) scales_.resize(bias_.size());
  const auto factor = [&](std::int64_t column) { return scale ? scale[column] * scale_all : scale_all; };
  if (bias) {
    for (std::int64_t i = 0; i < columns; ++i) item(bias_, i) = bias[i] * factor(i);
  }
  const bool scaled = scale || scale_all != 1;
  context.pool.parallel_for(padded / kPanel, [&](std::int64_t p) {
    const std::int64_t first = p * kPanel, rows = std::min(kPanel, columns - first);
    const float* from = weight + first * inner;
    std::vector<float> copy;
    if (scaled) {
      copy.assign(from, from + rows * inner);
      float* row = copy.data();
      for (std::int64_t r = 0; r < rows; ++r, row += inner) {
        for (std::int64_t k = 0; k < inner; ++k) row[k] *= factor(first + r);
      }
      from = copy.data();
    }
    pack_panel(from, inner, rows, inner, kernel_.format, context.kernels.weight_max, p, packed_.as<void>(),
               scales_.empty() ? nullptr : scales_.data() + first);
  });
}

std::int64_t Linear::passes(const Matrix& out, const Epilogue& epilogue) const {
  // Sums can only be continued where they are stored as they are.
  const bool splits = type() != DType::s8 && out.type == DType::f32 && epilogue.activation == Activation::none;
  return splits ? (steps_ + kPassSteps - 1) / kPassSteps : 1;
}

const char* Linear::weights(std::int64_t panel, std::int64_t step) const {
  const Format& format = kernel_.format;
  return packed_.as<char>() + (panel * steps_ * kPanel + step * format.strip) * format.bytes();
}

void Linear::multiply_block(const ConstMatrix& in, const Matrix& out, const Epilogue& epilogue, Span rows, Span panels,
                            Span next) const {
  GemmArgs args;
  args.lda = in.stride_bytes();
  args.panel_steps = steps_;
  args.columns = columns_;
  args.bias = bias_.data();
  args.column_scale = scales_.data();
  args.row_scale = in.scales;
  args.row_sum = in.sums;
  args.activation = epilogue.activation;
  args.out = out.data;
  args.ldo = out.stride;
  args.out_type = out.type;
  args.residual = static_cast<const float*>(epilogue.residual.data);
  args.ldr = epilogue.residual.stride;
  const std::int64_t count = passes(out, epilogue);
  const auto first_step = [&](std::int64_t pass) { return pass * steps_ / count; };
  if (kernel_.format.widens() && rows.end - rows.begin >= kWidenTiles * kernel_.tile_rows) {
    const auto scratch = scratch_for((steps_ + count - 1) / count, panels.end - panels.begin);
    args.scratch = scratch.data;
    args.scratch_panels = scratch.panels;
  }
  for (std::int64_t pass = 0; pass < count; ++pass) {
    const std::int64_t from = first_step(pass), to = first_step(pass + 1);
    const bool last = pass + 1 == count;
    const Span after = last ? next : panels;
    const std::int64_t next_from = last ? 0 : to;
    args.a = static_cast<const char*>(in.data) + from * 4;
    args.weights = weights(0, from);
    args.steps = to - from;
    args.next = weights(after.begin, next_from);
    args.next_panels = after.end - after.begin;
    args.next_steps = first_step(last ? 1 : pass + 2) - next_from;
    kernel_.gemm(args, rows.begin, rows.end, panels.begin, panels.end);
    args.bias = nullptr;
    args.residual = static_cast<const float*>(args.out);
    args.ldr = args.ldo;
  }
}

void Linear::multiply_here(const ConstMatrix& in, const Matrix& out, const Epilogue& epilogue) const {
  multiply_block(in, out, epilogue, {0, in.rows}, {0, round_up(columns_, kPanel) / kPanel});
}

void Linear::multiply_panel(const ConstMatrix& in, const Matrix& out, std::int64_t panel) const {
  GemmArgs args;
  args.a = in.data;
  args.lda = in.stride_bytes();
  args.weights = weights(panel, 0);
  args.steps = args.panel_steps = steps_;
  args.columns = kPanel;
  args.column_scale = scales_.empty() ? nullptr : scales_.data() + panel * kPanel;
  args.row_scale = in.scales;
  args.row_sum = in.sums;
  args.out = out.data;
  args.ldo = out.stride;
  kernel_.gemm(args, 0, in.rows, 0, 1);
}

void Linear::multiply(const Context& context, const ConstMatrix& in, const Matrix& out,
                      const Epilogue& epilogue) const {
  const std::int64_t rows = in.rows;
  if (rows <= 0) return;
  const std::int64_t panels = round_up(columns_, kPanel) / kPanel;
  const std::int64_t tile = kernel_.tile_rows;
  const std::int64_t panel_bytes = steps_ / passes(out, epilogue) * kPanel * kernel_.format.bytes();
  const std::int64_t cached_panels = std::max<std::int64_t>(1, cached_bytes() / std::max<std::int64_t>(1, panel_bytes));
  // A task multiplies one of `row_blocks` blocks of rows with one of `panel_blocks` blocks of panels. There are enough
  // tasks for all threads: first of fewer panels, then of fewer rows.
  const std::int64_t wanted = context.pool.size() == 1 ? 1 : context.pool.size() * kTasksPerThread;
  std::int64_t row_blocks = (rows + kBlockRows - 1) / kBlockRows;
  const std::int64_t panel_blocks =
      std::min(panels, std::max((panels + cached_panels - 1) / cached_panels, wanted / row_blocks));
  row_blocks = std::min((rows + tile - 1) / tile, std::max(row_blocks, wanted / kFewerTasks / panel_blocks));
  const std::int64_t tasks = row_blocks * panel_blocks;
  const auto rows_of = [&](std::int64_t task) -> Span {
    const std::int64_t i = task / panel_blocks;
    return {i * rows / row_blocks, (i + 1) * rows / row_blocks};
  };
  const auto panels_of = [&](std::int64_t task) -> Span {
    const std::int64_t i = task % panel_blocks;
    return {i * panels / panel_blocks, (i + 1) * panels / panel_blocks};
  };
  Shares shares(tasks, context.pool.size());
  context.pool.parallel_for(tasks, [&](std::int64_t, int thread) {
    const std::int64_t task = shares.take(thread), next = shares.next(thread);
    multiply_block(in, out, epilogue, rows_of(task), panels_of(task), next < 0 ? Span{} : panels_of(next));
  });
}

}  // namespace torchclip::core
