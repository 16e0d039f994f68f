#include "search/rows.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace torchclip::core {

void RowView::check_intact() const {
  if (file && !file->intact()) {
    throw Error(TORCHCLIP_E_INDEX_CORRUPT, file->path() + ": the file was shortened while it was open");
  }
}

void RowView::read(std::int64_t start, std::int64_t n, float* out) const {
  BusGuard::allow_in_this_thread();
  for (std::int64_t row = start; row < start + n; ++row, out += dim) {
    const char* from = at(row);
    if (type == DType::f32) {
      std::memcpy(out, from, static_cast<std::size_t>(dim) * sizeof(float));
    } else if (type == DType::bf16) {
      kernels()->widen_bf16(reinterpret_cast<const std::uint16_t*>(from), dim, out);
    } else {
      for (std::int64_t i = 0; i < dim; ++i) {
        out[i] = static_cast<float>(reinterpret_cast<const std::int8_t*>(from)[i]) * scales[row];
      }
    }
  }
  check_intact();
}

RowStore::RowStore(const NpyRows& rows)
    : type_(DType::f32),
      dim_(rows.dim),
      stride_(row_bytes(DType::f32, rows.dim)),
      file_(rows.file),
      mapped_(reinterpret_cast<const char*>(rows.data)),
      rows_(rows.rows) {}

RowView RowStore::view() const {
  std::lock_guard lock(mutex_);
  if (closed_) throw Error(TORCHCLIP_E_CLOSED, "the index is closed");
  RowView view{type_, dim_, stride_, rows_, mapped_, nullptr, nullptr, nullptr, file_};
  if (block_) {
    view.data = block_->data.as<char>();
    view.scales = type_ == DType::s8 ? block_->scales.as<float>() : nullptr;
    view.sums = type_ == DType::s8 ? block_->sums.as<std::int32_t>() : nullptr;
    view.keep = block_;
  }
  return view;
}

bool RowStore::is_closed() const {
  std::lock_guard lock(mutex_);
  return closed_;
}

std::size_t RowStore::bytes() const {
  std::lock_guard lock(mutex_);
  return block_ ? block_->data.bytes() + block_->scales.bytes() + block_->sums.bytes() : 0;
}

std::int64_t RowStore::rows() const {
  std::lock_guard lock(mutex_);
  return rows_;
}

std::shared_ptr<const RowStore::Block> RowStore::larger(const RowView& from, std::int64_t rows) const {
  auto block = std::make_shared<Block>();
  block->capacity = rows;
  const auto bytes_of = [](std::int64_t n, std::int64_t each) { return static_cast<std::size_t>(n * each); };
  block->data = Buffer(bytes_of(rows, stride_));
  const std::int64_t filled = from.count + pending_;
  if (filled > 0) std::memcpy(block->data.as<char>(), from.data, bytes_of(filled, stride_));
  if (type_ == DType::s8) {
    block->scales = Buffer(bytes_of(rows, sizeof(float)));
    block->sums = Buffer(bytes_of(rows, sizeof(std::int32_t)));
    if (filled > 0) {
      std::memcpy(block->scales.as<char>(), from.scales, bytes_of(filled, sizeof(float)));
      std::memcpy(block->sums.as<char>(), from.sums, bytes_of(filled, sizeof(std::int32_t)));
    }
  }
  return block;
}

RowStore::Staging RowStore::stage(std::int64_t count, std::int64_t more) {
  const RowView from = view();
  const std::int64_t first = from.count + pending_;
  if (count + more > kMostRows - first) throw Error(TORCHCLIP_E_ARGUMENT, "an index holds at most 2^31 - 1 rows");
  std::shared_ptr<const Block> block;
  {
    std::lock_guard lock(mutex_);
    block = block_;
  }
  const std::int64_t needed = first + count;
  if (!block || needed > block->capacity) {
    // Half as much again, so that many small additions do not copy all rows each time.
    const std::int64_t spare = block ? block->capacity + block->capacity / 2 : 0;
    BusGuard::allow_in_this_thread();
    block = larger(from, std::max(needed + more, spare));
    from.check_intact();
    std::lock_guard lock(mutex_);
    if (closed_) throw Error(TORCHCLIP_E_CLOSED, "the index is closed");
    block_ = block;
    file_.reset();
    mapped_ = nullptr;
  }
  const bool int8 = type_ == DType::s8;
  return {block->data.as<char>() + first * stride_, int8 ? block->scales.as<float>() + first : nullptr,
          int8 ? block->sums.as<std::int32_t>() + first : nullptr, block};
}

void RowStore::commit() {
  std::lock_guard lock(mutex_);
  if (closed_) throw Error(TORCHCLIP_E_CLOSED, "the index is closed");
  rows_ += pending_;
  pending_ = 0;
}

void RowStore::close() {
  std::shared_ptr<const Block> block;
  std::shared_ptr<const MappedFile> file;  // unmapped, and memory freed, outside the lock
  std::lock_guard lock(mutex_);
  closed_ = true;
  block.swap(block_);
  file.swap(file_);
  mapped_ = nullptr;
  rows_ = 0;
}

}  // namespace torchclip::core
