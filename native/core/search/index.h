// Exact nearest rows by inner product over embeddings in native memory, as float32, bf16 or int8.
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "model/fast/packed.h"
#include "search/sketch.h"

namespace torchclip::core {

// The threads that search; shared by all indexes of the process, one search at a time.
struct SearchTeam {
  std::mutex mutex;
  Team team;
  static SearchTeam& get();

 private:
  explicit SearchTeam(int threads) : team(threads) {}
};

// Operations a second of this machine's own matrix product in a precision, on all cores: the best of some rounds over
// `seconds`.
double product_speed(Precision precision, double seconds);

struct Hits {
  std::int32_t* indices;  // [queries, k]: row numbers, best first, equal scores by row number; -1 past the last hit
  float* scores;          // [queries, k]: NaN past the last hit
};

class Index {
 public:
  // Throws Error(E_ARGUMENT) for a dim outside 1 to 65536.
  Index(Type type, std::int64_t dim);

  // Rows of float32 [rows, dim]; copied, in the index's type. int8 keeps a scale for each row (the largest magnitude
  // is 127); scores of bf16 and int8 are those of what is stored.
  void add(const float* rows, std::int64_t count);
  // float32 rows that somebody else keeps (a mapped file): searched where they are; nothing can be added.
  void borrow(const float* rows, std::int64_t count, std::shared_ptr<const void> keep);

  // The k best rows of each query (float32 [count, dim]), 1 <= k <= rows. allowed: null, or a bit for each row, lowest
  // bit first; rows whose bit is not set are left out. Scores that are not numbers are never hits.
  void search(const float* queries, std::int64_t count, std::int32_t k, const std::uint8_t* allowed, Hits hits) const;

  // Row `row` as float32 [dim].
  void row(std::int64_t row, float* out) const;

  // float32 [count, dim] of a little-endian .npy of a C-ordered '<f4' matrix, mapped; throws Error(E_MODEL_CORRUPT).
  static std::unique_ptr<Index> open_npy(const std::string& path);

  Type type() const noexcept { return type_; }
  std::int64_t dim() const noexcept { return dim_; }
  std::int64_t rows() const noexcept { return rows_; }
  std::size_t bytes() const noexcept { return data_.bytes() + scales_.size() * 8 + sketchBytes_; }

 private:
  const char* at(std::int64_t row) const;
  void grow(std::int64_t rows);
  // Some queries, of `all` that came together, by the sketch, which is made when a few come a second time or
  // many at once; false: the whole base must be scanned.
  bool search_sketch(const Context& context, const float* queries, std::int64_t count, std::int64_t all, std::int32_t k,
                     const std::uint8_t* allowed, Hits hits) const;

  Type type_;
  std::int64_t dim_, stride_, rows_ = 0;  // stride in bytes
  Buffer data_;
  const char* borrowed_ = nullptr;
  std::shared_ptr<const void> keep_;
  std::vector<float> scales_;
  std::vector<std::int32_t> sums_;
  // Under the search team's mutex.
  mutable std::unique_ptr<Sketch> sketch_;
  mutable bool asked_ = false, sketchable_ = true;
  mutable std::atomic<std::size_t> sketchBytes_{0};  // for whoever asks while a search runs
};

}  // namespace torchclip::core
