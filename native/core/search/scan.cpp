#include "search/scan.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include "base/error.h"
#include "search/int8_prefilter.h"
#include "search/int8_queries.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kFewQueries = 8;  // with up to so many queries, float32 rows are read at the speed of memory
constexpr std::int64_t kQueriesAtOnce = 256;      // their packed panels stay in the L2 cache
constexpr std::int64_t kWidenedFloats = 65536;    // of bf16 rows that are widened before they are multiplied
constexpr std::int64_t kGatherBytes = 256 << 10;  // rows that are copied together, so that they stay in it
constexpr float kLowest = -std::numeric_limits<float>::infinity();

// The best k of one query so far, in one thread: candidates are collected and cut down to k when there are many.
class TopKCollector {
 public:
  void start(std::int32_t k) {
    k_ = static_cast<std::size_t>(k);
    hits_.clear();
    hits_.reserve(capacity());
  }
  // Returns the score that a further hit must have.
  float push(float score, std::int32_t row, float limit) {
    hits_.push_back({score, row});
    if (hits_.size() < capacity()) return limit;
    cut();
    return hits_[k_ - 1].score;
  }
  void cut() {
    if (hits_.size() <= k_) return;
    std::nth_element(hits_.begin(), hits_.begin() + static_cast<std::ptrdiff_t>(k_) - 1, hits_.end());
    hits_.resize(k_);
  }
  std::vector<Hit>& hits() { return hits_; }

 private:
  std::size_t capacity() const { return 2 * k_ + 16; }
  std::size_t k_ = 0;
  std::vector<Hit> hits_;
};

// Rows that are scored together.
struct Segment {
  const char* data;
  std::int64_t stride;  // bytes
  const float* scales;
  const std::int32_t* sums;
  std::int64_t count;
  std::int64_t first;           // the number of its first row, where `numbers` is null
  const std::int32_t* numbers;  // of its rows

  std::int32_t number(std::int64_t i) const { return numbers ? numbers[i] : static_cast<std::int32_t>(first + i); }
};

// Whether rows of bf16 meet the queries as float32, as they do without instructions for bf16.
bool widens(const Context& context, const RowView& rows) {
  return rows.type == DType::bf16 && input_type(context, Precision::bf16) != DType::bf16;
}

// The rows of a scan in segments: all of them where they lie, or those of a list, copied together; widened where that
// is needed.
class Segments {
 public:
  Segments(const Context& context, const RowView& rows, const RowFilter& filter)
      : context_(context), rows_(rows), widens_(widens(context, rows)) {
    if (widens_) size_ = std::clamp<std::int64_t>(kWidenedFloats / rows.dim, 1, kSegment);
    if (filter.is_sparse(rows.count)) {  // only those rows are read
      list_ = filter.list(rows.count);
      size_ = std::min(size_, std::clamp<std::int64_t>(kGatherBytes / rows.stride, 1, kSegment));
    }
    const std::int64_t n = list_ ? static_cast<std::int64_t>(list_->size()) : rows.count;
    count_ = (n + size_ - 1) / size_;
  }

  std::int64_t count() const { return count_; }

  // Segment `i`, which is valid until the same thread asks for the next.
  Segment at(std::int64_t i) const {
    const Segment stored = stored_at(i);
    return widens_ ? widened(stored) : stored;
  }

 private:
  Segment stored_at(std::int64_t i) const {
    const std::int64_t first = i * size_;
    if (list_) return gather(first, std::min(size_, static_cast<std::int64_t>(list_->size()) - first));
    return {rows_.at(first),
            rows_.stride,
            rows_.scales ? rows_.scales + first : nullptr,
            rows_.sums ? rows_.sums + first : nullptr,
            std::min(size_, rows_.count - first),
            first,
            nullptr};
  }

  Segment widened(const Segment& stored) const {
    static thread_local Buffer floats;
    floats.grow(static_cast<std::size_t>(stored.count * rows_.dim) * sizeof(float));
    for (std::int64_t r = 0; r < stored.count; ++r) {
      const auto* narrow = reinterpret_cast<const std::uint16_t*>(stored.data + r * stored.stride);
      context_.kernels.widen_bf16(narrow, rows_.dim, floats.as<float>() + r * rows_.dim);
    }
    Segment segment = stored;
    segment.data = floats.as<char>();
    segment.stride = rows_.dim * static_cast<std::int64_t>(sizeof(float));
    return segment;
  }

  Segment gather(std::int64_t first, std::int64_t n) const {
    static thread_local Buffer data, scales, sums;
    data.grow(static_cast<std::size_t>(n * rows_.stride));
    scales.grow(static_cast<std::size_t>(n) * sizeof(float));
    sums.grow(static_cast<std::size_t>(n) * sizeof(std::int32_t));
    const std::int32_t* numbers = list_->data() + first;
    for (std::int64_t r = 0; r < n; ++r) {
      std::copy_n(rows_.at(numbers[r]), rows_.stride, data.as<char>() + r * rows_.stride);
      if (!rows_.scales) continue;
      scales.as<float>()[r] = rows_.scales[numbers[r]];
      sums.as<std::int32_t>()[r] = rows_.sums[numbers[r]];
    }
    return {data.as<char>(), rows_.stride, scales.as<float>(), sums.as<std::int32_t>(), n, 0, numbers};
  }

  const Context& context_;
  const RowView& rows_;
  const bool widens_;
  std::optional<std::vector<std::int32_t>> list_;
  std::int64_t size_ = kSegment, count_ = 0;
};

// One block of at most kQueriesAtOnce queries against all segments.
class BlockScan {
 public:
  BlockScan(const Context& context, const RowView& rows, const Query& query)
      : context_(context), rows_(rows), query_(query), padded_(round_up(query.count, kPanel)) {
    const auto lanes = static_cast<std::size_t>(context.pool.size() * padded_);
    best_.resize(lanes);
    // Lanes past the last query never hit.
    limits_.assign(lanes, std::numeric_limits<float>::infinity());
    for (int thread = 0; thread < context.pool.size(); ++thread) {
      std::fill_n(limits_.begin() + thread * padded_, query.count, kLowest);
      for (std::int64_t q = 0; q < query.count; ++q)
        best_[static_cast<std::size_t>(thread * padded_ + q)].start(query.k);
    }
    const bool floats = rows.type == DType::f32 || widens(context, rows);
    few_ = floats && query.count <= kFewQueries;
    if (rows.type == DType::s8) {
      bytes_.emplace(context, query.data, query.count, rows.dim);
    } else if (!few_) {
      packed_ = Linear(context, floats ? Precision::fp32 : Precision::bf16, query.data, nullptr, query.count, rows.dim);
    }
  }

  // On thread `thread` of the pool.
  void add(const Segment& segment, int thread) {
    alignas(64) static thread_local float scores[kSegment * kPanel];
    if (few_) return add_few(segment, thread, scores);
    for (std::int64_t panel = 0; panel < padded_ / kPanel; ++panel) {
      if (bytes_) {
        bytes_->scores(context_.kernels, segment.data, segment.stride, segment.scales, segment.sums, segment.count,
                       panel, scores);
      } else {
        const DType type = packed_.type();
        const ConstMatrix in{segment.data, segment.count, rows_.dim, segment.stride / size_of(type), type};
        packed_.multiply_panel(in, Matrix::dense(scores, segment.count, kPanel), panel);
      }
      struct State {
        BlockScan& scan;
        const Segment& segment;
        int thread;
        std::int64_t query;
      } state{*this, segment, thread, panel * kPanel};
      const float* limits = limits_.data() + thread * padded_ + panel * kPanel;
      context_.kernels.scan(scores, segment.count, limits, &state,
                            [](void* p, std::int64_t r, int column, float score) {
                              auto& to = *static_cast<State*>(p);
                              to.scan.take(to.thread, to.query + column, to.segment.number(r), score);
                            });
    }
  }

  // What all threads found for query `q`, as result `at` of `hits`.
  void finish(std::int64_t q, std::int64_t at, const Hits& hits) {
    auto& all = best_[static_cast<std::size_t>(q)].hits();
    for (int thread = 1; thread < context_.pool.size(); ++thread) {
      const auto& more = best_[static_cast<std::size_t>(thread * padded_ + q)].hits();
      all.insert(all.end(), more.begin(), more.end());
    }
    write_hits(all, query_.k, at, hits);
  }

 private:
  void add_few(const Segment& segment, int thread, float* scores) {
    context_.kernels.dots(reinterpret_cast<const float*>(segment.data), segment.count, rows_.dim, query_.data,
                          query_.count, scores, kSegment);
    for (std::int64_t q = 0; q < query_.count; ++q) {
      const float* line = scores + q * kSegment;
      const float& limit = limits_[static_cast<std::size_t>(thread * padded_ + q)];
      for (std::int64_t r = 0; r < segment.count; ++r) {
        if (line[r] >= limit) take(thread, q, segment.number(r), line[r]);
      }
    }
  }

  void take(int thread, std::int64_t query, std::int32_t row, float score) {
    if (!query_.filter.passes(row)) return;
    const auto lane = static_cast<std::size_t>(thread * padded_ + query);
    limits_[lane] = best_[lane].push(score, row, limits_[lane]);
  }

  const Context& context_;
  const RowView& rows_;
  const Query query_;
  const std::int64_t padded_;
  std::vector<TopKCollector> best_;  // [threads, padded]
  std::vector<float> limits_;        // of the same
  bool few_ = false;
  Linear packed_;
  std::optional<Int8Queries> bytes_;
};

}  // namespace

void check_k(std::int32_t k, std::int64_t rows) {
  if (k >= 1 && k <= rows) return;
  throw Error(TORCHCLIP_E_ARGUMENT, "k must be in 1 to " + std::to_string(rows) + ", not " + std::to_string(k));
}

void write_hits(std::vector<Hit>& found, std::int32_t k, std::int64_t at, const Hits& hits) {
  const auto kept = std::min(found.size(), static_cast<std::size_t>(k));
  std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(kept), found.end());
  for (std::int32_t i = 0; i < k; ++i) {
    const bool found_one = static_cast<std::size_t>(i) < kept;
    hits.indices[at * k + i] = found_one ? found[static_cast<std::size_t>(i)].row : -1;
    hits.scores[at * k + i] =
        found_one ? found[static_cast<std::size_t>(i)].score : std::numeric_limits<float>::quiet_NaN();
  }
}

void scan(const Context& context, const RowView& rows, const Query& query, const Hits& hits) {
  const Segments segments(context, rows, query.filter);
  // Consecutive segments as one task: memory is read in long runs.
  const std::int64_t tasks = std::min<std::int64_t>(segments.count(), context.pool.size() * 16);
  for (std::int64_t first = 0; first < query.count; first += kQueriesAtOnce) {
    const std::int64_t n = std::min(kQueriesAtOnce, query.count - first);
    BlockScan block(context, rows, {query.data + first * rows.dim, n, query.k, query.filter});
    context.pool.parallel_for(tasks, [&](std::int64_t task, int thread) {
      const std::int64_t end = (task + 1) * segments.count() / tasks;
      for (std::int64_t s = task * segments.count() / tasks; s < end; ++s) block.add(segments.at(s), thread);
    });
    context.pool.parallel_for(n, [&](std::int64_t q) { block.finish(q, first + q, hits); });
  }
}

}  // namespace torchclip::core
