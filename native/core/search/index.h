// Exact nearest rows by inner product over embeddings in native memory, as float32, bf16 or int8.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "search/int8_prefilter.h"
#include "search/rows.h"
#include "search/scan.h"

namespace torchclip::core {

// The threads that search; shared by all indexes of the process, one search at a time.
struct SearchThreads {
  std::mutex mutex;
  ThreadPool pool;
  static SearchThreads& get();

 private:
  explicit SearchThreads(int threads) : pool(threads) {}
};

// Operations a second of this machine's own matrix product in a precision, on all cores: the best of some rounds over
// `seconds`.
double product_speed(Precision precision, double seconds);

// Every method may be called on any thread at any time, while others run. A thread that needs several locks takes them
// in this order:
//   1. writer_: one addition at a time;
//   2. SearchThreads::mutex: the threads that convert and search rows, for as long as that takes;
//   3. RowStore::mutex_: for a few instructions.
// `read`, `rows` and `bytes` take the third alone: they never wait for a search or for an addition.
class Index {
 public:
  // Throws Error(E_ARGUMENT) for a dim outside 1 to 65536.
  Index(DType type, std::int64_t dim);
  // Over a mapped .npy of float32 rows; throws Error(E_INDEX_NOT_FOUND or E_INDEX_CORRUPT). The first addition copies
  // its rows into memory.
  static std::unique_ptr<Index> open_npy(const std::string& path);
  // float32 rows [count, dim] that the caller keeps meanwhile, searched once where they are; throws as `search` does.
  static void search_rows(const float* rows, std::int64_t count, std::int64_t dim, const Query& query,
                          const Hits& hits);

  // Rows of float32 [count, dim]; copied, in the index's type, all or none. int8 keeps a scale for each row (the
  // largest magnitude is 127); scores of bf16 and int8 are those of what is stored. A row with a NaN is never found;
  // one with an infinity not in int8, which has none.
  void add(const float* rows, std::int64_t count);
  // The same in parts, by one writer at a time: staged rows are found after `commit`, or never after `discard`. `more`:
  // how many rows will follow these ones.
  void stage(const float* rows, std::int64_t count, std::int64_t more);
  void commit();
  void discard();

  // The k best rows of each query, 1 <= k <= rows, among the rows that are there when the search begins. Scores that
  // are not numbers are never hits. Throws Error(E_INDEX_CORRUPT) where the rows' file was shortened.
  void search(const Query& query, const Hits& hits) const;

  // Rows [start, start + count) as float32 [count, dim]; throws Error(E_ARGUMENT) where there are not as many.
  void read(std::int64_t start, std::int64_t count, float* out) const;

  // Frees the memory, or unmaps the file, when the calls that run have ended. Later calls throw Error(E_CLOSED).
  void close();

  std::int64_t dim() const noexcept { return store_.dim(); }
  std::int64_t rows() const { return store_.rows(); }
  std::size_t bytes() const { return store_.bytes() + sketch_bytes_; }

 private:
  explicit Index(const NpyRows& rows);
  void stage_locked(const float* rows, std::int64_t count, std::int64_t more);
  // Some queries, of `all` that came together, by the prefilter, which is made when a few come a second time or many at
  // once; false: the rows must be scanned.
  bool search_sketch(const Context& context, const RowView& rows, const Query& query, std::int64_t all,
                     const Hits& hits) const;

  std::mutex writer_;
  RowStore store_;
  // Under the search pool's mutex.
  mutable std::unique_ptr<Int8Prefilter> prefilter_;
  mutable bool asked_ = false, sketchable_ = true;
  mutable std::atomic<std::size_t> sketch_bytes_{0};  // for whoever asks while a search runs
};

}  // namespace torchclip::core
