// Exact nearest rows by inner product over embeddings in native memory, as float32, bf16 or int8.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "search/gpu_rows.h"
#include "search/int8_prefilter.h"
#include "search/rows.h"
#include "search/scan.h"

namespace torchclip::core {

// The threads that search. All indexes of the process share them, and one search runs at a time.
struct SearchThreads {
  std::mutex mutex;
  ThreadPool pool;
  static SearchThreads& get();

 private:
  explicit SearchThreads(int threads) : pool(threads) {}
};

// Measures the speed of this machine's own matrix multiplication in a precision on all cores, in operations per second:
// the best of several rounds over `seconds`.
double gemm_peak(Precision precision, double seconds);

// Every method is thread-safe and may be called while others run. A thread that needs several locks takes them in this
// order:
//   1. writer_: one addition at a time;
//   2. SearchThreads::mutex: the threads that convert and search rows, for the whole duration;
//   3. RowStore::mutex_: for a few instructions.
// A search on a GPU takes gpu_mutex_ in the place of the second lock.
// `read`, `rows` and `bytes` take only the third lock: they never wait for a search or an addition.
class Index {
 public:
  // Throws Error(E_ARGUMENT) for a dim outside 1 to 65536.
  Index(DType type, std::int64_t dim);
  // Opens a mapped .npy file of float32 rows. Throws Error(E_INDEX_NOT_FOUND or E_INDEX_CORRUPT). The first addition
  // copies its rows into memory.
  static std::unique_ptr<Index> open_npy(const std::string& path);
  // Searches float32 rows [count, dim] once in the caller's memory, which must stay valid until the call returns.
  // Throws as `search` does.
  static void search_rows(const float* rows, std::int64_t count, std::int64_t dim, const Query& query,
                          const Hits& hits);

  // Adds rows of float32 [count, dim]; they are copied in the index's type, all or none. int8 stores a scale per row
  // (the largest magnitude becomes 127). Scores of bf16 and int8 are those of the stored values. A row with a NaN is
  // never found. A row with an infinity is never found in int8, which cannot represent it.
  void add(const float* rows, std::int64_t count);
  // Adds rows in parts, by one writer at a time. Staged rows are found after `commit`, or never after `discard`. `more`
  // is the number of rows that will follow these.
  void stage(const float* rows, std::int64_t count, std::int64_t more);
  void commit();
  void discard();

  // Finds the k best rows of each query, 1 <= k <= rows, among the rows that are present when the search begins. NaN
  // scores are never hits. Throws Error(E_INDEX_CORRUPT) if the file of the rows was shortened.
  void search(const Query& query, const Hits& hits) const;

  // Copies the rows to a GPU. Searches for at most GpuRows::kMostK rows run there from now on, and first copy the rows
  // that were added since. Throws Error(E_ARGUMENT) for an index that is not float32, Error(E_OUT_OF_MEMORY) if the GPU
  // has no room, and Error(E_INDEX_CORRUPT) as `search` does.
  void place_on(std::unique_ptr<GpuRows> gpu);
  // Copies the rows that were added since to the GPU now. Does nothing without one.
  void upload() const;

  // Reads rows [start, start + count) as float32 [count, dim]. Throws Error(E_ARGUMENT) if the range exceeds the rows.
  void read(std::int64_t start, std::int64_t count, float* out) const;

  // Frees the memory or unmaps the file when the running calls have ended. Later calls throw Error(E_CLOSED).
  void close();

  std::int64_t dim() const noexcept { return store_.dim(); }
  std::int64_t rows() const { return store_.rows(); }
  std::size_t bytes() const { return store_.bytes() + prefilter_bytes_; }
  std::size_t gpu_bytes() const { return gpu_bytes_; }  // Of the GPU's memory.

 private:
  explicit Index(const NpyRows& rows);
  void stage_locked(const float* rows, std::int64_t count, std::int64_t more);
  // Searches some queries, out of `all` that came in one call, by the prefilter, which is made when a few queries come
  // a second time or many come at once. Returns false if the rows must be scanned.
  bool search_prefiltered(const Context& context, const RowView& rows, const Query& query, std::int64_t all,
                          const Hits& hits) const;

  // Returns false if the rows are not on a GPU, or it cannot find so many.
  bool search_on_gpu(const Query& query, const Hits& hits) const;
  // Gives the GPU's memory back, unless a search uses it.
  void release_gpu() const;
  struct GpuUse;

  std::mutex writer_;
  RowStore store_;
  // Guarded by the mutex of SearchThreads.
  mutable std::unique_ptr<Int8Prefilter> prefilter_;
  mutable bool searched_ = false, prefilterable_ = true;
  mutable std::atomic<std::size_t> prefilter_bytes_{0};  // Atomic, so that bytes() may be called while a search runs.
  mutable std::mutex gpu_mutex_;
  mutable std::unique_ptr<GpuRows> gpu_;  // Guarded by gpu_mutex_.
  std::atomic<bool> on_gpu_{false};
  mutable std::atomic<std::size_t> gpu_bytes_{0};
};

}  // namespace torchclip::core
