#include "linalg/arena.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace torchclip::core {

Matrix Arena::matrix(std::int64_t rows, std::int64_t columns, DType type) {
  Matrix m{nullptr, rows, columns, row_stride(type, columns) / size_of(type), type};
  m.data = take(static_cast<std::size_t>(rows * m.stride_bytes()));
  if (type == DType::s8) {
    m.scales = array<float>(rows);
    m.sums = array<std::int32_t>(rows);
  }
  const std::int64_t end = columns * size_of(type);
  const std::int64_t padding = row_bytes(type, columns) - end;
  for (std::int64_t r = 0; padding > 0 && r < rows; ++r) {
    std::memset(m.row<char>(r) + end, 0, static_cast<std::size_t>(padding));
  }
  return m;
}

Matrix Arena::dense(std::int64_t rows, std::int64_t columns, DType type) {
  return Matrix::dense(take(static_cast<std::size_t>(rows * columns * size_of(type))), rows, columns, type);
}

std::size_t Arena::bytes() const noexcept {
  std::size_t total = 0;
  for (const auto& block : blocks_) total += block.bytes();
  return total;
}

void* Arena::take(std::size_t bytes) {
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (blocks_.empty() || top_.offset + bytes > blocks_[top_.block].bytes()) next_block(bytes);
  void* taken = blocks_[top_.block].as<char>() + top_.offset;
  top_.offset += bytes;
  top_.used += bytes;
  most_used_ = std::max(most_used_, top_.used);
  return taken;
}

// Blocks behind the current one are unused. The next of them serves if it is large enough; otherwise all of them are
// freed, so that a growing arena holds little more than what is in use.
void Arena::next_block(std::size_t bytes) {
  const std::size_t next = top_.offset == 0 ? top_.block : top_.block + 1;
  if (next >= blocks_.size() || blocks_[next].bytes() < bytes) {
    blocks_.resize(std::min(next, blocks_.size()));
    blocks_.emplace_back(bytes);
  }
  top_.block = next;
  top_.offset = 0;
}

void Arena::release(const Position& position) noexcept {
  top_ = position;
  if (top_.used > 0 || blocks_.size() < 2) return;
  // Nothing is in use any more: the blocks become one that holds the largest pass.
  blocks_.clear();
  top_ = {};
  try {
    blocks_.emplace_back(most_used_);
  } catch (const std::bad_alloc&) {
    // The next pass asks for its memory again.
  }
}

}  // namespace torchclip::core
