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
constexpr float kUp = 1.00001f;

// The k largest numbers that were pushed, as a heap whose front is the least of them.
class Largest {
 public:
  explicit Largest(std::int32_t k) : k_(static_cast<std::size_t>(k)) {}
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
  float least() const { return heap_.size() < k_ ? -std::numeric_limits<float>::infinity() : heap_.front(); }
  const std::vector<float>& all() const { return heap_; }

 private:
  std::size_t k_;
  std::vector<float> heap_;
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
      norms_[static_cast<std::size_t>(to + r)] = static_cast<float>(std::sqrt(norm)) * kUp;
      errors_[static_cast<std::size_t>(to + r)] = static_cast<float>(std::sqrt(error)) * kUp;
      if (!std::isfinite(norm) || !std::isfinite(error)) finite = false;
    }
  });
  rows_ = first + count;
  for (std::int64_t r = first; r < rows_; ++r) {
    most_norm_ = std::max(most_norm_, norms_[static_cast<std::size_t>(r)]);
    most_error_ = std::max(most_error_, errors_[static_cast<std::size_t>(r)]);
  }
  return finite;
}

bool Int8Prefilter::candidates(const Context& context, const float* queries, std::int64_t count, std::int32_t k,
                               const RowFilter& filter, std::vector<std::vector<Candidate>>& found) const {
  // |q|, and how far its int8 form can be from it: half a step in each of dim numbers.
  std::vector<float> lengths, steps;
  for (std::int64_t q = 0; q < count; ++q) {
    double norm = 0;
    float most = 0;
    for (std::int64_t i = 0; i < dim_; ++i) {
      const float x = queries[q * dim_ + i];
      norm += static_cast<double>(x) * x;
      most = std::max(most, std::abs(x));
    }
    if (!std::isfinite(norm)) return false;
    lengths.push_back(static_cast<float>(std::sqrt(norm)) * kUp);
    steps.push_back(0.5f * most / static_cast<float>(context.kernels.weight_max) * std::sqrt(static_cast<float>(dim_)) *
                    kUp);
  }
  const auto bound = [&](std::int64_t q, float norm, float error) {
    return norm * steps[q] + error * (lengths[q] + steps[q]) + kRounding * norm * lengths[q];
  };
  const Int8Queries packed(context, queries, count, dim_);
  const std::int64_t segments = (rows_ + kSegment - 1) / kSegment;
  const std::int64_t tasks = std::min<std::int64_t>(segments, context.pool.size() * 16);
  const std::int64_t padded = round_up(count, kPanel);
  struct Lane {  // of one query on one thread
    Largest lower;
    std::vector<Candidate> found;
  };
  std::vector<Lane> lanes(static_cast<std::size_t>(context.pool.size() * count), Lane{Largest(k), {}});
  std::vector<float> most;
  for (std::int64_t q = 0; q < count; ++q) most.push_back(bound(q, most_norm_, most_error_));
  context.pool.parallel_for(tasks, [&](std::int64_t task, int who) {
    alignas(64) static thread_local float scores[kSegment * kPanel];
    // Lanes past the last query never hit.
    static thread_local std::vector<float> limits;
    limits.assign(static_cast<std::size_t>(padded), std::numeric_limits<float>::infinity());
    Lane* own = &lanes[static_cast<std::size_t>(who * count)];
    for (std::int64_t q = 0; q < count; ++q) limits[static_cast<std::size_t>(q)] = own[q].lower.least() - most[q];
    struct State {
      const Int8Prefilter& prefilter;
      const decltype(bound)& bound_of;
      const RowFilter& filter;
      Lane* lanes;
      float* limits;
      const float* most;
      std::int64_t row, query;
    } state{*this, bound, filter, own, limits.data(), most.data(), 0, 0};
    for (std::int64_t s = task * segments / tasks; s < (task + 1) * segments / tasks; ++s) {
      const std::int64_t row = s * kSegment, rows = std::min(kSegment, rows_ - row);
      state.row = row;
      // The segment stays in the second cache while the panels of queries pass by.
      for (state.query = 0; state.query < count; state.query += kPanel) {
        packed.scores(context.kernels, data_.data() + row * stride_, stride_, scales_.data() + row, sums_.data() + row,
                      rows, state.query / kPanel, scores);
        context.kernels.scan(scores, rows, state.limits + state.query, &state,
                             [](void* p, std::int64_t r, int column, float score) {
                               auto& t = *static_cast<State*>(p);
                               const std::int64_t at = t.row + r, q = t.query + column;
                               if (!t.filter.passes(at)) return;
                               Lane& lane = t.lanes[q];
                               const float b = t.bound_of(q, t.prefilter.norms_[static_cast<std::size_t>(at)],
                                                          t.prefilter.errors_[static_cast<std::size_t>(at)]);
                               if (score + b < lane.lower.least()) return;
                               lane.found.push_back({static_cast<std::int32_t>(at), score + b});
                               lane.lower.push(score - b);
                               t.limits[q] = lane.lower.least() - t.most[q];
                             });
      }
    }
  });
  found.assign(static_cast<std::size_t>(count), {});
  for (std::int64_t q = 0; q < count; ++q) {
    Largest lower(k);
    for (int who = 0; who < context.pool.size(); ++who) {
      for (const float x : lanes[static_cast<std::size_t>(who * count + q)].lower.all()) lower.push(x);
    }
    for (int who = 0; who < context.pool.size(); ++who) {
      for (const auto& c : lanes[static_cast<std::size_t>(who * count + q)].found) {
        if (c.upper >= lower.least()) found[static_cast<std::size_t>(q)].push_back(c);
      }
    }
  }
  return true;
}

}  // namespace torchclip::core
