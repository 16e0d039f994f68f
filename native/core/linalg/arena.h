// The memory of a forward pass, taken and released as a stack.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "linalg/buffer.h"
#include "linalg/matrix.h"

namespace torchclip::core {

// Hands out uninitialised memory for the intermediate results of a forward pass:
//
//   const Arena::Scope scope(arena);
//   const Matrix hidden = arena.matrix(tokens, mlp_width, DType::f32);
//
// Everything that is taken while a scope lives is released when it ends, and the next scope takes the same memory.
// Memory that was handed out never moves. The arena grows to the largest pass so far, which is then one block that
// later passes reuse. It is used by one thread at a time.
class Arena {
  struct Position {
    std::size_t block = 0, offset = 0;
    std::size_t used = 0;  // The bytes that are taken in all blocks.
  };

 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Scopes are nested: the last one that began ends first.
  class Scope {
   public:
    explicit Scope(Arena& arena) noexcept : arena_(arena), begin_(arena.top_) {}
    ~Scope() { arena_.release(begin_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    const Position begin_;
  };

  // A matrix whose rows are placed as matrix multiplications read them fastest (see row_stride), with zeros between
  // its columns and row_bytes. An s8 matrix has room for the scales and sums of its rows.
  Matrix matrix(std::int64_t rows, std::int64_t columns, DType type);
  // A matrix whose rows follow each other without gaps.
  Matrix dense(std::int64_t rows, std::int64_t columns, DType type = DType::f32);
  template <typename T>
  T* array(std::int64_t count) {
    return static_cast<T*>(take(static_cast<std::size_t>(count) * sizeof(T)));
  }

  // The size of the memory that the arena holds.
  std::size_t bytes() const noexcept;

 private:
  void* take(std::size_t bytes);
  void next_block(std::size_t bytes);
  void release(const Position& position) noexcept;

  std::vector<Buffer> blocks_;
  Position top_;
  std::size_t most_used_ = 0;
};

}  // namespace torchclip::core
