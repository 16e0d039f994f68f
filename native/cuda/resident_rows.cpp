#include "resident_rows.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "kernels.h"
#include "padded_rows.h"
#include "quantized_query.h"
#include "search.h"

namespace torchclip::cuda {
namespace {

constexpr std::int64_t kBlockBytes = 256 << 20;
constexpr std::int64_t kScoreBytes = 512 << 20;  // bounds the scores that are held
constexpr std::int64_t kQueriesOfSearch = 1024;  // bounds the memory of queries and hits
constexpr std::int64_t kPartRows = 1024;         // A block that selects has at least so many rows.
constexpr std::int64_t kPartKeys = 65536;        // The most keys of a query's parts, which one block joins.
constexpr std::int64_t kBlocksOfProcessor = 8;   // Blocks of select_top_k that a multiprocessor holds.

template <typename T>
T* at(const Memory& memory) {
  return static_cast<T*>(memory.get());
}

}  // namespace

// One search: its memory on the device, and what it found. All of its passes over the rows are queued before the first
// result is waited for.
class ResidentRows::Search {
 public:
  Search(ResidentRows& rows, const ResidentQuery& query, std::int32_t* indices, float* scores)
      : rows_(rows),
        device_(rows.device_),
        query_(query),
        indices_(indices),
        out_scores_(scores),
        k_(query.k),
        together_(std::clamp<std::int64_t>(kScoreBytes / (rows.rows_ * 4), 1, std::min(kQueriesTogether, query.count))),
        parts_(parts_of(rows, query, together_)),
        scores_(allocate<float>(together_ * rows.rows_)),
        best_of_parts_(allocate<std::uint64_t>(together_ * parts_ * k_)) {
    if (!query.allowed) return;
    const std::int64_t known = std::min(query.allowed_rows, rows.rows_), bytes = (known + 7) / 8;
    allowed_bits_ = allocate<std::uint8_t>(bytes + 1);
    device_.upload(allowed_bits_.get(), query.allowed, static_cast<std::size_t>(bytes));
    allowed_ = {at<std::uint8_t>(allowed_bits_), known};
  }

  void run() {
    std::vector<std::int64_t> remaining(static_cast<std::size_t>(query_.count));
    std::iota(remaining.begin(), remaining.end(), 0);
    if (rows_.rows_ >= rows_.options_.prefilter_rows) remaining = prefilter();
    if (!remaining.empty()) scan(remaining);
    rows_.counts_.scanned += remaining.size();
    rows_.counts_.prefiltered += static_cast<std::uint64_t>(query_.count) - remaining.size();
  }

 private:
  static std::int64_t parts_of(const ResidentRows& rows, const ResidentQuery& query, std::int64_t together) {
    const std::int64_t busy = kBlocksOfProcessor * rows.device_.multiprocessors() / together;
    return std::max<std::int64_t>(1, std::min({busy, rows.rows_ / kPartRows, kPartKeys / query.k}));
  }

  template <typename T>
  Memory allocate(std::int64_t count) const {
    return rows_.device_.allocate(static_cast<std::size_t>(count) * sizeof(T));
  }

  // Answers the queries by their candidates, and returns the numbers of those that have no bounds or too many.
  std::vector<std::int64_t> prefilter() {
    PaddedRows padded(query_.data, rows_.dim_);
    const float* data = padded.at(0, query_.count);
    const Memory queries = allocate<float>(query_.count * rows_.length_);
    device_.upload(queries.get(), data, padded.bytes(query_.count));
    QueryBlock quantized(device_, rows_.length_, query_.count);
    const auto bounded = quantized.send(data);
    const std::int64_t most = rows_.options_.most_candidates;
    const Memory candidates = allocate<std::int32_t>(together_ * most), counts = zeros<std::int32_t>(query_.count),
                 keys = allocate<std::uint64_t>(together_ * most), best = zeros<std::uint64_t>(query_.count * k_),
                 least = allocate<std::uint64_t>(together_ * k_);
    for (std::int64_t first = 0; first < query_.count; first += together_) {
      const std::int64_t n = std::min(together_, query_.count - first);
      const Candidates found{at<std::int32_t>(candidates), at<std::int32_t>(counts) + first, most};
      find_candidates(quantized.queries(first, n), at<std::uint64_t>(least), found);
      score_candidates(device_.stream(), at<RowBlock>(rows_.block_list_),
                       static_cast<std::int64_t>(rows_.blocks_.size()), rows_.length_,
                       at<float>(queries) + first * rows_.length_, n, found, at<std::uint64_t>(keys));
      select_keys(device_.stream(), at<std::uint64_t>(keys), n, most, found.counts, query_.k,
                  at<std::uint64_t>(best) + first * k_);
    }
    const auto hits = downloaded<std::uint64_t>(best, query_.count * k_);
    const auto found = downloaded<std::int32_t>(counts, query_.count);
    std::vector<std::int64_t> remaining;
    for (std::int64_t q = 0; q < query_.count; ++q) {
      const auto i = static_cast<std::size_t>(q);
      if (bounded[i] && found[i] <= most) {
        write(hits.data() + q * k_, q);
      } else {
        remaining.push_back(q);
      }
    }
    return remaining;
  }

  // The rows whose bounds reach the k-th best lower bound, uint64 `least` [queries, k].
  void find_candidates(const QuantizedQueries& queries, std::uint64_t* least, const Candidates& out) {
    select_from_all(
        queries.count,
        [&](const Block& block, float* to) {
          lower_bounds(device_.stream(), block.quantized(), block.first, block.count, rows_.length_, queries, allowed_,
                       to, rows_.rows_);
        },
        least);
    for (const Block& block : rows_.blocks_) {
      collect_candidates(device_.stream(), block.quantized(), block.first, block.count, queries,
                         at<float>(scores_) + block.first, rows_.rows_, least, query_.k, out);
    }
  }

  // Scores all rows for the queries of these numbers.
  void scan(const std::vector<std::int64_t>& numbers) {
    const auto count = static_cast<std::int64_t>(numbers.size());
    std::vector<float> chosen;
    for (const std::int64_t q : numbers) {
      chosen.insert(chosen.end(), query_.data + q * rows_.dim_, query_.data + (q + 1) * rows_.dim_);
    }
    PaddedRows padded(chosen.data(), rows_.dim_);
    const Memory queries = allocate<float>(count * rows_.length_), best = allocate<std::uint64_t>(count * k_);
    device_.upload(queries.get(), padded.at(0, count), padded.bytes(count));
    for (std::int64_t first = 0; first < count; first += together_) {
      const std::int64_t n = std::min(together_, count - first);
      const auto score = [&](const Block& block, float* to) {
        exact_scores(device_.stream(), block.floats(), block.count, rows_.length_,
                     at<float>(queries) + first * rows_.length_, n, allowed_, to, rows_.rows_);
      };
      select_from_all(n, score, at<std::uint64_t>(best) + first * k_);
    }
    const auto hits = downloaded<std::uint64_t>(best, count * k_);
    for (std::int64_t i = 0; i < count; ++i) write(hits.data() + i * k_, numbers[static_cast<std::size_t>(i)]);
  }

  // Calls score(block, to) for each block, which writes a number of each query and row, and selects the k best of each
  // query: uint64 best [queries, k].
  template <typename Score>
  void select_from_all(std::int64_t queries, Score&& score, std::uint64_t* best) {
    device_.fill(best_of_parts_.get(), 0, static_cast<std::size_t>(queries * parts_ * k_) * 8);
    for (const Block& block : rows_.blocks_) {
      float* to = at<float>(scores_) + block.first;
      score(block, to);
      select_top_k(device_.stream(), to, queries, block.count, rows_.rows_, block.first, query_.k, parts_,
                   at<std::uint64_t>(best_of_parts_));
    }
    device_.fill(best, 0, static_cast<std::size_t>(queries * k_) * 8);
    select_keys(device_.stream(), at<std::uint64_t>(best_of_parts_), queries, parts_ * k_, nullptr, query_.k, best);
  }

  template <typename T>
  Memory zeros(std::int64_t count) {
    Memory memory = allocate<T>(count);
    device_.fill(memory.get(), 0, static_cast<std::size_t>(count) * sizeof(T));
    return memory;
  }

  template <typename T>
  std::vector<T> downloaded(const Memory& from, std::int64_t count) {
    std::vector<T> values(static_cast<std::size_t>(count));
    device_.download(values.data(), from.get(), values.size() * sizeof(T));
    return values;
  }

  void write(const std::uint64_t* keys, std::int64_t query) {
    write_hits(keys, k_, indices_ + query * k_, out_scores_ + query * k_);
  }

  ResidentRows& rows_;
  Device& device_;
  const ResidentQuery& query_;
  std::int32_t* indices_;
  float* out_scores_;
  const std::int64_t k_, together_, parts_;  // together: queries of one pass; parts: blocks that select for each.
  Memory scores_;                            // float [together, rows]: scores, or their lower bounds
  Memory best_of_parts_;                     // uint64 [together, parts, k]
  Memory allowed_bits_;
  AllowedRows allowed_;
};

QuantizedRows ResidentRows::Block::quantized() const {
  auto* floats = at<float>(numbers);
  return {at<std::int8_t>(values), floats, floats + capacity, floats + 2 * capacity};
}

ResidentRows::ResidentRows(Device& device, std::int64_t dim, const ResidentOptions& options)
    : device_(device), dim_(dim), length_(core::round_up(dim, kInnerMultiple)), options_(options) {}

void ResidentRows::add(const float* rows, std::int64_t count) {
  const std::int64_t before = rows_;
  try {
    append(rows, count);
  } catch (...) {
    while (!blocks_.empty() && blocks_.back().first >= before) blocks_.pop_back();
    if (!blocks_.empty()) blocks_.back().count = before - blocks_.back().first;
    rows_ = before;
    throw;
  }
}

void ResidentRows::append(const float* rows, std::int64_t count) {
  PaddedRows from(rows, dim_);
  bool is_new = false;
  for (std::int64_t done = 0, n; done < count; done += n) {
    if (blocks_.empty() || blocks_.back().count == blocks_.back().capacity) {
      blocks_.push_back(make_block(count - done));
      is_new = true;
    }
    Block& block = blocks_.back();
    n = std::min(count - done, block.capacity - block.count);
    device_.upload(at<float>(block.rows) + block.count * length_, from.at(done, n), from.bytes(n));
    quantize_rows(device_.stream(), at<float>(block.rows), block.count, n, length_, block.quantized());
    block.count += n;
    rows_ += n;
  }
  if (is_new) list_blocks();
}

// A block for the next rows: for those that are wanted, and for as many as there are already, so that the number of
// blocks stays small when few rows are added at a time.
ResidentRows::Block ResidentRows::make_block(std::int64_t wanted) const {
  const std::int64_t most = options_.block_rows > 0 ? options_.block_rows : kBlockBytes / (length_ * 4);
  Block block;
  block.first = rows_;
  block.capacity = core::round_up(std::min(std::max(wanted, rows_), most), kTileRows);
  block.rows = device_.allocate(static_cast<std::size_t>(block.capacity * length_) * 4);
  block.values = device_.allocate(static_cast<std::size_t>(block.capacity * length_));
  block.numbers = device_.allocate(static_cast<std::size_t>(block.capacity) * 3 * 4);
  return block;
}

void ResidentRows::list_blocks() {
  std::vector<RowBlock> list;
  for (const Block& block : blocks_) list.push_back(block.floats());
  Memory memory = device_.allocate(list.size() * sizeof(RowBlock));
  device_.upload(memory.get(), list.data(), list.size() * sizeof(RowBlock));
  block_list_ = std::move(memory);
}

void ResidentRows::search(const ResidentQuery& query, std::int32_t* indices, float* scores) {
  std::int64_t most = kQueriesOfSearch;
  for (std::int64_t first = 0; first < query.count;) {
    ResidentQuery part = query;
    part.data += first * dim_;
    part.count = std::min(most, query.count - first);
    try {
      Search(*this, part, indices + first * query.k, scores + first * query.k).run();
      first += part.count;
    } catch (...) {
      if (core::current_failure().status != TORCHCLIP_E_OUT_OF_MEMORY || part.count == 1) throw;
      device_.free_cache();
      most = part.count > kQueriesTogether ? kQueriesTogether : part.count / 2;  // they hold fewer scores at a time
    }
  }
}

std::uint64_t ResidentRows::bytes() const {
  std::uint64_t bytes = 0;
  for (const Block& block : blocks_) bytes += static_cast<std::uint64_t>(block.capacity * (length_ * 5 + 12));
  return bytes;
}

}  // namespace torchclip::cuda
