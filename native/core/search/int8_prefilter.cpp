#include "search/int8_prefilter.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "search/int8_queries.h"

namespace torchclip::core {
namespace {

// Above what float32 sums of any order differ by, relative to the product of the norms.
constexpr float kRounding = 1e-5f;
constexpr float kRoundUp = 1.00001f;

// The k largest numbers that were pushed, as a heap whose front is the least of them.
class TopKThreshold {
 public:
  explicit TopKThreshold(std::int32_t k) : k_(static_cast<std::size_t>(k)) {}
  void push(float x) {
    if (heap_.size() == k_) {
      if (x <= heap_.front()) return;
      std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
      heap_.back() = x;
    } else {
      heap_.push_back(x);
    }
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
  }
  // The k-th largest; -infinity before there are k.
  float value() const { return heap_.size() < k_ ? -std::numeric_limits<float>::infinity() : heap_.front(); }
  const std::vector<float>& all() const { return heap_; }

 private:
  std::size_t k_;
  std::vector<float> heap_;
};

// How far the int8 score of a query and a row can be from the exact one.
class ErrorBounds {
 public:
  // queries: float32 [count, dim].
  ErrorBounds(const float* queries, std::int64_t count, std::int64_t dim, std::int32_t weight_max) {
    for (std::int64_t q = 0; q < count; ++q) {
      double norm = 0;
      float largest = 0;
      for (std::int64_t i = 0; i < dim; ++i) {
        const float x = queries[q * dim + i];
        norm += static_cast<double>(x) * x;
        largest = std::max(largest, std::abs(x));
      }
      finite_ = finite_ && std::isfinite(norm);
      lengths_.push_back(static_cast<float>(std::sqrt(norm)) * kRoundUp);
      steps_.push_back(0.5f * largest / static_cast<float>(weight_max) * std::sqrt(static_cast<float>(dim)) * kRoundUp);
    }
  }

  bool finite() const { return finite_; }
  // `norm` and `error`: of the row, as Int8Prefilter keeps them.
  float of(std::size_t query, float norm, float error) const {
    const float length = lengths_[query], step = steps_[query];
    return norm * step + error * (length + step) + kRounding * norm * length;
  }

 private:
  std::vector<float> lengths_, steps_;  // |q|, and how far its int8 form can be from it: half a step in each dimension.
  bool finite_ = true;
};

}  // namespace

bool Int8Prefilter::add(const Context& context, const float* rows, std::int64_t count) {
  const std::int64_t first = rows_;
  data_.resize(static_cast<std::size_t>((first + count) * stride_));
  for (auto* numbers : {&scales_, &norms_, &errors_}) numbers->resize(static_cast<std::size_t>(first + count));
  sums_.resize(static_cast<std::size_t>(first + count));
  std::atomic<bool> finite{true};
  context.pool.parallel_for((count + kSegment - 1) / kSegment, [&](std::int64_t task) {
    const std::int64_t begin = task * kSegment, n = std::min(kSegment, count - begin), to = first + begin;
    context.kernels.layer_norm(rows + begin * dim_, dim_, n, dim_, nullptr, nullptr, 0, DType::s8,
                               data_.data() + to * stride_, stride_, scales_.data() + to, sums_.data() + to);
    for (std::int64_t r = 0; r < n; ++r) {
      const float* exact = rows + (begin + r) * dim_;
      const auto* rounded = reinterpret_cast<const std::int8_t*>(data_.data() + (to + r) * stride_);
      const float scale = scales_[static_cast<std::size_t>(to + r)];
      double norm = 0, error = 0;
      for (std::int64_t i = 0; i < dim_; ++i) {
        const double x = exact[i], d = x - static_cast<double>(scale) * rounded[i];
        norm += x * x;
        error += d * d;
      }
      norms_[static_cast<std::size_t>(to + r)] = static_cast<float>(std::sqrt(norm)) * kRoundUp;
      errors_[static_cast<std::size_t>(to + r)] = static_cast<float>(std::sqrt(error)) * kRoundUp;
      if (!std::isfinite(norm) || !std::isfinite(error)) finite = false;
    }
  });
  rows_ = first + count;
  for (std::int64_t r = first; r < rows_; ++r) {
    max_norm_ = std::max(max_norm_, norms_[static_cast<std::size_t>(r)]);
    max_error_ = std::max(max_error_, errors_[static_cast<std::size_t>(r)]);
  }
  return finite;
}

// What one thread has found for one query.
struct Int8Prefilter::Lane {
  TopKThreshold lower;  // Of the lower bounds of the exact scores.
  std::vector<Candidate> found;
};

// The search of all rows for a block of queries.
class Int8Prefilter::Search {
 public:
  Search(const Int8Prefilter& prefilter, const Context& context, const float* queries, std::int64_t count,
         std::int32_t k, const RowFilter& filter, const ErrorBounds& bounds)
      : prefilter_(prefilter),
        context_(context),
        count_(count),
        k_(k),
        filter_(filter),
        bounds_(bounds),
        packed_(context, queries, count, prefilter.dim_),
        lanes_(static_cast<std::size_t>(context.pool.size() * count), Lane{TopKThreshold(k), {}}) {
    for (std::size_t q = 0; q < static_cast<std::size_t>(count); ++q) {
      max_bounds_.push_back(bounds.of(q, prefilter.max_norm_, prefilter.max_error_));
    }
  }

  void run() {
    const std::int64_t segments = (prefilter_.rows_ + kSegment - 1) / kSegment;
    const std::int64_t tasks = std::min<std::int64_t>(segments, context_.pool.size() * 16);
    context_.pool.parallel_for(tasks, [&](std::int64_t task, int thread) {
      scan_segments(task * segments / tasks, (task + 1) * segments / tasks, thread);
    });
  }

  // What all threads found for query `q` that may still be among the k best.
  std::vector<Candidate> candidates_of(std::int64_t q) const {
    TopKThreshold lower(k_);
    for (int thread = 0; thread < context_.pool.size(); ++thread) {
      for (const float x : lane(thread, q).lower.all()) lower.push(x);
    }
    std::vector<Candidate> found;
    for (int thread = 0; thread < context_.pool.size(); ++thread) {
      for (const auto& c : lane(thread, q).found) {
        if (c.upper >= lower.value()) found.push_back(c);
      }
    }
    return found;
  }

 private:
  // The place of one thread in its segments, which the kernel hands back with each score.
  struct Position {
    const Search& search;
    Lane* lanes;    // [count]
    float* limits;  // [count]: what a score must reach
    std::int64_t row = 0, query = 0;
  };

  const Lane& lane(int thread, std::int64_t q) const { return lanes_[static_cast<std::size_t>(thread * count_ + q)]; }

  void scan_segments(std::int64_t begin, std::int64_t end, int thread) {
    alignas(64) static thread_local float scores[kSegment * kPanel];
    // Lanes past the last query never hit.
    static thread_local std::vector<float> limits;
    limits.assign(static_cast<std::size_t>(round_up(count_, kPanel)), std::numeric_limits<float>::infinity());
    Lane* own = &lanes_[static_cast<std::size_t>(thread * count_)];
    for (std::size_t q = 0; q < max_bounds_.size(); ++q) limits[q] = own[q].lower.value() - max_bounds_[q];
    Position position{*this, own, limits.data()};
    const auto& p = prefilter_;
    for (std::int64_t s = begin; s < end; ++s) {
      const std::int64_t row = s * kSegment, rows = std::min(kSegment, p.rows_ - row);
      position.row = row;
      // The segment stays in the L2 cache while it meets the panels of queries one after another.
      for (position.query = 0; position.query < count_; position.query += kPanel) {
        packed_.scores(context_.kernels, p.data_.data() + row * p.stride_, p.stride_, p.scales_.data() + row,
                       p.sums_.data() + row, rows, position.query / kPanel, scores);
        context_.kernels.scan(scores, rows, position.limits + position.query, &position, take);
      }
    }
  }

  // Called by the kernel for a score that reaches its query's limit.
  static void take(void* state, std::int64_t segment_row, int column, float score) {
    auto& position = *static_cast<Position*>(state);
    const Search& search = position.search;
    const std::int64_t row = position.row + segment_row;
    if (!search.filter_.passes(row)) return;
    const auto at = static_cast<std::size_t>(row);
    const auto query = static_cast<std::size_t>(position.query + column);
    Lane& lane = position.lanes[query];
    const float bound = search.bounds_.of(query, search.prefilter_.norms_[at], search.prefilter_.errors_[at]);
    if (score + bound < lane.lower.value()) return;
    lane.found.push_back({static_cast<std::int32_t>(row), score + bound});
    lane.lower.push(score - bound);
    position.limits[query] = lane.lower.value() - search.max_bounds_[query];
  }

  const Int8Prefilter& prefilter_;
  const Context& context_;
  const std::int64_t count_;
  const std::int32_t k_;
  const RowFilter& filter_;
  const ErrorBounds& bounds_;
  const Int8Queries packed_;
  std::vector<Lane> lanes_;        // [threads, count]
  std::vector<float> max_bounds_;  // Of each query, over all rows.
};

bool Int8Prefilter::candidates(const Context& context, const float* queries, std::int64_t count, std::int32_t k,
                               const RowFilter& filter, std::vector<std::vector<Candidate>>& found) const {
  const ErrorBounds bounds(queries, count, dim_, context.kernels.weight_max);
  if (!bounds.finite()) return false;
  Search search(*this, context, queries, count, k, filter, bounds);
  search.run();
  found.clear();
  for (std::int64_t q = 0; q < count; ++q) found.push_back(search.candidates_of(q));
  return true;
}

}  // namespace torchclip::core
