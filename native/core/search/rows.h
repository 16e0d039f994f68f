// The storage of an index's rows. A reader takes a RowView, which stays valid and unchanged while rows are added, the
// memory is moved to a larger block, or the index is closed. The block is freed with its last view.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "linalg/packed.h"
#include "search/npy.h"

namespace torchclip::core {

// The first `count` rows of an index, which no longer change.
struct RowView {
  DType type = DType::f32;
  std::int64_t dim = 0, stride = 0, count = 0;  // stride is in bytes.
  const char* data = nullptr;                   // [count, stride]
  const float* scales = nullptr;                // int8 only: [count]
  const std::int32_t* sums = nullptr;           // int8 only: [count]
  std::shared_ptr<const void> keep;             // Owns the memory of the rows,
  std::shared_ptr<const MappedFile> file;       // or the file that contains them.

  const char* at(std::int64_t row) const { return data + row * stride; }
  // Reads rows [start, start + n) as float32 [n, dim]. Throws Error(E_INDEX_CORRUPT) as `check_intact` does.
  void read(std::int64_t start, std::int64_t n, float* out) const;
  // Call it after reading: throws Error(E_INDEX_CORRUPT) if the file was shortened since it was mapped.
  void check_intact() const;
};

// Any number of readers and one writer may use it at a time. `mutex_` is held only while a few pointers are exchanged,
// never while rows are converted, copied or searched, and no other lock is taken under it.
class RowStore {
 public:
  RowStore(DType type, std::int64_t dim) : type_(type), dim_(dim), stride_(row_bytes(type, dim)) {}
  // Uses a mapped file; the first `stage` copies its rows into memory.
  explicit RowStore(const NpyRows& rows);

  // Throws Error(E_CLOSED) after `close`.
  RowView view() const;
  void check_open() const { (void)view(); }
  bool is_closed() const;
  // The size of the memory in bytes, without that of a mapped file. 0 after `close`.
  std::size_t bytes() const;
  std::int64_t rows() const;
  std::int64_t dim() const noexcept { return dim_; }
  DType type() const noexcept { return type_; }

  // For one writer at a time. Returns the memory of `count` rows after the present and the staged ones. `more` is the
  // number of rows that will follow, so that they need no larger block.
  struct Staging {
    char* data;                        // [count, stride()]
    float* scales;                     // int8 only: [count]
    std::int32_t* sums;                // int8 only: [count]
    std::shared_ptr<const void> keep;  // Owns the memory of the pointers, even after `close`.
  };
  Staging stage(std::int64_t count, std::int64_t more);
  // Stages `count` further rows, which the caller has filled. No view contains them yet.
  void staged(std::int64_t count) { pending_ += count; }
  // commit() makes the staged rows visible, and discard() drops them.
  void commit();
  void discard() { pending_ = 0; }
  std::int64_t stride() const noexcept { return stride_; }

  // Existing views stay valid; new ones are refused.
  void close();

 private:
  struct Block {
    Buffer data, scales, sums;
    std::int64_t capacity = 0;
  };
  std::shared_ptr<const Block> larger(const RowView& from, std::int64_t rows) const;

  const DType type_;
  const std::int64_t dim_, stride_;
  std::int64_t pending_ = 0;  // Used by the writer only.
  mutable std::mutex mutex_;  // Guards the following members.
  std::shared_ptr<const Block> block_;
  std::shared_ptr<const MappedFile> file_;
  const char* mapped_ = nullptr;
  std::int64_t rows_ = 0;
  bool closed_ = false;
};

}  // namespace torchclip::core
