// Rows that stay on a device, as float32 and as int8, and the exact nearest rows of queries among them.
//
// A search reads the int8 rows, which bound every score (prefilter.h), and then scores the few rows whose bounds reach
// the k-th best. Where too many rows remain, and for queries that have no bounds, all rows are scored. Either way a
// score is the sum of the products in double, rounded to float32: it depends neither on the way nor on the other
// queries.
#pragma once

#include <cstdint>
#include <vector>

#include "device.h"
#include "prefilter.h"

namespace torchclip::cuda {

struct ResidentOptions {
  std::int64_t block_rows = 0;           // The most rows of one allocation; 0: as many as 256 MB of float32 hold.
  std::int64_t prefilter_rows = 16384;   // So many rows and more are searched by their int8 copy first.
  std::int64_t most_candidates = 32768;  // With more candidates for a query, all rows are scored for it.
};

struct ResidentQuery {
  const float* data;  // float [count, dim]
  std::int64_t count;
  std::int32_t k;  // In 1 to kMostK, and at most the number of rows.
  // The rows that may be found, on the host: AllowedRows (prefilter.h).
  const std::uint8_t* allowed = nullptr;
  std::int64_t allowed_rows = 0;
};

// How many queries were answered in which way so far.
struct ResidentCounts {
  std::uint64_t prefiltered = 0;  // By the int8 rows and the candidates alone.
  std::uint64_t scanned = 0;      // By the scores of all rows.
};

class ResidentRows {
 public:
  // `dim` is at most 65,536. The device must outlive the rows.
  ResidentRows(Device& device, std::int64_t dim, const ResidentOptions& options = {});
  ResidentRows(const ResidentRows&) = delete;
  ResidentRows& operator=(const ResidentRows&) = delete;

  // Appends float [count, dim], all or none. Throws Error(E_OUT_OF_MEMORY).
  void add(const float* rows, std::int64_t count);

  // Finds the k best rows of each query: int32 and float [count, k], best first, equal scores by row number. Scores
  // that are NaN are no hits: after the last hit the index is -1 and the score NaN. Throws Error(E_OUT_OF_MEMORY).
  void search(const ResidentQuery& query, std::int32_t* indices, float* scores);

  std::int64_t rows() const { return rows_; }
  std::int64_t dim() const { return dim_; }
  std::uint64_t bytes() const;  // Of the device's memory.
  const ResidentCounts& counts() const { return counts_; }

 private:
  struct Block {
    std::int64_t first = 0, count = 0, capacity = 0;  // Rows; the capacity is a multiple of kTileRows.
    Memory rows, values, numbers;                     // `numbers`: scales, norms and errors, float [3, capacity].

    QuantizedRows quantized() const;
  };
  class Search;

  void append(const float* rows, std::int64_t count);
  Block make_block(std::int64_t wanted) const;
  void list_blocks();
  RowList list() const;

  Device& device_;
  const std::int64_t dim_, length_;
  const ResidentOptions options_;
  std::int64_t rows_ = 0;
  std::vector<Block> blocks_;
  Memory block_list_;  // RowBlock [blocks_.size()]
  ResidentCounts counts_;
};

}  // namespace torchclip::cuda
