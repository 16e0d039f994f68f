// Where an index keeps its rows. Whoever reads takes a RowView, which stays what it is while rows are added, the memory
// is moved to a larger block, or the index is closed: the block is freed with the last view of it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "linalg/packed.h"
#include "search/npy.h"

namespace torchclip::core {

// The first `count` rows of an index, which do not change any more.
struct RowView {
  DType type = DType::f32;
  std::int64_t dim = 0, stride = 0, count = 0;  // stride in bytes
  const char* data = nullptr;                   // [count, stride]
  const float* scales = nullptr;                // int8 alone: [count]
  const std::int32_t* sums = nullptr;           // int8 alone: [count]
  std::shared_ptr<const void> keep;             // owns the memory that the rows lie in
  std::shared_ptr<const MappedFile> file;       // or the file that they lie in

  const char* at(std::int64_t row) const { return data + row * stride; }
  // Rows [start, start + n) as float32 [n, dim]. Throws Error(E_INDEX_CORRUPT) as `check_intact` does.
  void read(std::int64_t start, std::int64_t n, float* out) const;
  // After reading: throws Error(E_INDEX_CORRUPT) where the file was shortened since it was mapped.
  void check_intact() const;
};

// Any number of readers and one writer at a time. `mutex_` is held for the exchange of a few pointers only, never while
// rows are converted, copied or searched, and no other lock is taken under it.
class RowStore {
 public:
  RowStore(DType type, std::int64_t dim) : type_(type), dim_(dim), stride_(row_bytes(type, dim)) {}
  // Over a mapped file; the first `stage` copies its rows into memory.
  explicit RowStore(const NpyRows& rows);

  // Throws Error(E_CLOSED) after `close`.
  RowView view() const;
  void check_open() const { (void)view(); }
  // Bytes of memory; those of a mapped file are not counted. 0 after `close`.
  std::size_t bytes() const;
  std::int64_t rows() const;
  std::int64_t dim() const noexcept { return dim_; }
  DType type() const noexcept { return type_; }

  // For one writer at a time. Room for `count` rows behind those that are there and staged; `more`: how many others
  // will follow, so that they need no larger block.
  struct Room {
    char* data;                        // [count, stride()]
    float* scales;                     // int8 alone: [count]
    std::int32_t* sums;                // int8 alone: [count]
    std::shared_ptr<const void> keep;  // owns what the pointers point at, also after `close`
  };
  Room stage(std::int64_t count, std::int64_t more);
  // `count` further rows, filled by the caller, are staged: not yet in any view.
  void staged(std::int64_t count) { pending_ += count; }
  // The staged rows can be seen from now on, or are forgotten.
  void commit();
  void discard() { pending_ = 0; }
  std::int64_t stride() const noexcept { return stride_; }

  // Views that are in use stay valid; later ones are refused.
  void close();

 private:
  struct Block {
    Buffer data, scales, sums;
    std::int64_t capacity = 0;
  };
  std::shared_ptr<const Block> larger(const RowView& from, std::int64_t rows) const;

  const DType type_;
  const std::int64_t dim_, stride_;
  std::int64_t pending_ = 0;  // the writer's
  mutable std::mutex mutex_;  // of what follows
  std::shared_ptr<const Block> block_;
  std::shared_ptr<const MappedFile> file_;
  const char* mapped_ = nullptr;
  std::int64_t rows_ = 0;
  bool closed_ = false;
};

}  // namespace torchclip::core
