#include "resident_rows.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "kernels.h"
#include "padded_rows.h"
#include "quantized_query.h"
#include "search.h"
#include "selecting_parts.h"

namespace torchclip::cuda {
namespace {

constexpr std::int64_t kBlockBytes = 256 << 20;
constexpr std::int64_t kScoreBytes = 512 << 20;  // bounds the scores that are held
constexpr std::int64_t kQueriesOfSearch = 1024;  // bounds the memory of queries and hits
constexpr int kSlot = 0;                         // What a search sends and gets goes through this slot of the device.

template <typename T>
T* at(const Memory& memory) {
  return static_cast<T*>(memory.get());
}

// Places of arrays in one piece of memory.
class Places {
 public:
  // Room for `bytes` bytes; returns their offset.
  std::int64_t take(std::int64_t bytes) { return std::exchange(bytes_, core::round_up(bytes_ + bytes, 16)); }
  std::size_t bytes() const { return static_cast<std::size_t>(bytes_); }

 private:
  std::int64_t bytes_ = 0;
};

}  // namespace

// One search: its memory on the device, and what it found. What it needs is sent in one copy, all of its passes over
// the rows are queued, and what they found comes back in one copy, which is all that the host waits for.
class ResidentRows::Search {
 public:
  Search(ResidentRows& rows, const ResidentQuery& query, std::int32_t* indices, float* scores)
      : rows_(rows),
        device_(rows.device_),
        list_(rows.list()),
        query_(query),
        indices_(indices),
        out_scores_(scores),
        k_(query.k),
        together_(
            std::clamp<std::int64_t>(kScoreBytes / (list_.stride() * 4), 1, std::min(kQueriesTogether, query.count))),
        scores_(allocate<float>(together_ * list_.stride())),
        best_of_parts_(allocate<std::uint64_t>(together_ * parts_of(rows.rows_) * k_)) {}

  void run() {
    std::vector<std::int64_t> remaining(static_cast<std::size_t>(query_.count));
    std::iota(remaining.begin(), remaining.end(), 0);
    if (rows_.rows_ >= rows_.options_.prefilter_rows) remaining = prefilter(remaining);
    if (!remaining.empty()) scan(remaining);
    rows_.counts_.scanned += remaining.size();
    rows_.counts_.prefiltered += static_cast<std::uint64_t>(query_.count) - remaining.size();
  }

 private:
  // What is on the device of the queries of a pass over the rows.
  struct Sent {
    const float* floats;
    const void* int8;  // As QueryBlock wrote it.
    AllowedRows allowed;
    std::vector<bool> bounded;
  };

  std::int64_t parts_of(std::int64_t columns) const {
    return selecting_parts(columns, together_, k_, device_.multiprocessors());
  }

  template <typename T>
  Memory allocate(std::int64_t count) const {
    return device_.allocate(static_cast<std::size_t>(count) * sizeof(T));
  }

  // Sends the queries of these numbers, and the filter. int8: whether they are quantized.
  Sent send(const std::vector<std::int64_t>& numbers, bool int8) {
    const auto count = static_cast<std::int64_t>(numbers.size()), length = list_.length, dim = rows_.dim_;
    const std::int64_t known = query_.allowed ? std::min(query_.allowed_rows, list_.rows) : 0;
    const QueryBlock block(length, count);
    Places places;
    const auto floats = places.take(count * length * 4), quantized = places.take(int8 ? block.bytes() : 0),
               bits = places.take((known + 7) / 8);
    const auto* base = static_cast<char*>(device_.input_slot(kSlot, places.bytes()));
    auto* from = static_cast<char*>(device_.host_slot(kSlot, places.bytes()));
    std::memset(from, 0, static_cast<std::size_t>(count * length) * 4);
    auto* rows = reinterpret_cast<float*>(from + floats);
    for (std::int64_t i = 0; i < count; ++i) {
      std::copy_n(query_.data + numbers[static_cast<std::size_t>(i)] * dim, dim, rows + i * length);
    }
    Sent sent{reinterpret_cast<const float*>(base + floats), base + quantized, {}, {}};
    if (int8) sent.bounded = block.write(rows, from + quantized);
    if (query_.allowed) {
      std::memcpy(from + bits, query_.allowed, static_cast<std::size_t>((known + 7) / 8));
      sent.allowed = {reinterpret_cast<const std::uint8_t*>(base + bits), known};
    }
    device_.upload_async(kSlot, from, places.bytes());
    device_.begin_batch(kSlot);
    return sent;
  }

  // What a search found: the hits of each query, and after prefilter() the number of its candidates.
  struct Results {
    std::vector<std::uint64_t> hits;   // [count, k]
    std::vector<std::int32_t> counts;  // [count]
  };

  // Waits for the results at `memory`, which lie there as `hits` and `counts` do.
  Results received(const Memory& memory, std::int64_t count) {
    std::vector<char> bytes(static_cast<std::size_t>(results_bytes(count)));
    device_.end_batch(kSlot, bytes.data(), memory.get(), bytes.size());
    device_.finish(kSlot);
    Results results{std::vector<std::uint64_t>(static_cast<std::size_t>(count * k_)),
                    std::vector<std::int32_t>(static_cast<std::size_t>(count))};
    std::memcpy(results.hits.data(), bytes.data(), results.hits.size() * 8);
    std::memcpy(results.counts.data(), bytes.data() + results.hits.size() * 8, results.counts.size() * 4);
    return results;
  }
  std::int64_t results_bytes(std::int64_t count) const { return count * (k_ * 8 + 4); }

  // Answers the queries by their candidates, and returns the numbers of those that have no bounds or too many.
  std::vector<std::int64_t> prefilter(const std::vector<std::int64_t>& numbers) {
    const auto count = static_cast<std::int64_t>(numbers.size()), tiles = list_.tiles();
    const std::int64_t most = rows_.options_.most_candidates;
    const Memory results = allocate<char>(results_bytes(count));
    const Memory tile_bounds = allocate<float>(2 * together_ * tiles), least = allocate<std::uint64_t>(together_ * k_),
                 candidates = allocate<std::int32_t>(together_ * most),
                 keys = allocate<std::uint64_t>(together_ * most);
    auto* hits = at<std::uint64_t>(results);
    auto* counts = reinterpret_cast<std::int32_t*>(hits + count * k_);
    const ScoreBounds bounds{at<float>(scores_), at<float>(tile_bounds), at<float>(tile_bounds) + together_ * tiles};
    const auto sent = send(numbers, true);
    device_.fill(counts, 0, static_cast<std::size_t>(count) * 4);
    for (std::int64_t first = 0; first < count; first += together_) {
      const std::int64_t n = std::min(together_, count - first);
      const auto queries = QueryBlock(list_.length, count).queries(sent.int8, first, n);
      const Candidates found{at<std::int32_t>(candidates), counts + first, most};
      bound_scores(device_.stream(), list_, queries, sent.allowed, bounds);
      select_best(bounds.tile_lower, n, tiles, tiles, at<std::uint64_t>(least));
      collect_candidates(device_.stream(), list_, queries, bounds, at<std::uint64_t>(least), query_.k, found);
      score_candidates(device_.stream(), list_, sent.floats + first * list_.length, n, found, at<std::uint64_t>(keys));
      select_keys(device_.stream(), at<std::uint64_t>(keys), n, most, found.counts, query_.k, hits + first * k_);
    }
    const auto found = received(results, count);
    std::vector<std::int64_t> remaining;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      if (sent.bounded[i] && found.counts[i] <= most) {
        write(found, i, numbers[i]);
      } else {
        remaining.push_back(numbers[i]);
      }
    }
    return remaining;
  }

  // Scores all rows for the queries of these numbers.
  void scan(const std::vector<std::int64_t>& numbers) {
    const auto count = static_cast<std::int64_t>(numbers.size());
    const Memory results = allocate<char>(results_bytes(count));
    const auto sent = send(numbers, false);
    for (std::int64_t first = 0; first < count; first += together_) {
      const std::int64_t n = std::min(together_, count - first);
      exact_scores(device_.stream(), list_, sent.floats + first * list_.length, n, sent.allowed, at<float>(scores_));
      select_best(at<float>(scores_), n, list_.rows, list_.stride(), at<std::uint64_t>(results) + first * k_);
    }
    const auto found = received(results, count);
    for (std::size_t i = 0; i < numbers.size(); ++i) write(found, i, numbers[i]);
  }

  // The k best columns of each query as keys: uint64 best [queries, k]. values: float [queries, stride].
  void select_best(const float* values, std::int64_t queries, std::int64_t columns, std::int64_t stride,
                   std::uint64_t* best) {
    const std::int64_t parts = parts_of(columns);
    auto* to = parts > 1 ? at<std::uint64_t>(best_of_parts_) : best;
    select_top_k(device_.stream(), values, queries, columns, stride, 0, query_.k, parts, false, to);
    if (parts > 1) select_keys(device_.stream(), to, queries, parts * k_, nullptr, query_.k, best);
  }

  void write(const Results& results, std::size_t from, std::int64_t query) {
    write_hits(results.hits.data() + static_cast<std::int64_t>(from) * k_, k_, indices_ + query * k_,
               out_scores_ + query * k_);
  }

  ResidentRows& rows_;
  Device& device_;
  const RowList list_;
  const ResidentQuery& query_;
  std::int32_t* indices_;
  float* out_scores_;
  const std::int64_t k_, together_;  // together: queries of one pass.
  Memory scores_;                    // float [together, stride]: scores, or their lower bounds
  Memory best_of_parts_;             // uint64 [together, parts, k]
};

QuantizedRows ResidentRows::Block::quantized() const {
  auto* floats = at<float>(numbers);
  return {at<std::int8_t>(values), floats, floats + capacity, floats + 2 * capacity};
}

ResidentRows::ResidentRows(Device& device, std::int64_t dim, const ResidentOptions& options)
    : device_(device), dim_(dim), length_(core::round_up(dim, kInnerMultiple)), options_(options) {}

RowList ResidentRows::list() const {
  return {at<RowBlock>(block_list_), static_cast<std::int64_t>(blocks_.size()), rows_, length_};
}

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
  for (const Block& block : blocks_) list.push_back({at<float>(block.rows), block.quantized(), block.first});
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
      device_.finish(kSlot);
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
