// The memory of forward passes: matrices that grow without moving, scopes that give the same memory again, and one
// block for the largest pass so far.
#include "linalg/arena.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "check.h"

using namespace torchclip::core;

namespace {

// A pass with an outer matrix and two inner scopes of different sizes.
void check_pass(Arena& arena, std::int64_t rows) {
  CAPTURE(rows);
  const Arena::Scope scope(arena);
  const Matrix x = arena.dense(rows, 10);
  std::fill_n(x.row<float>(0), rows * 10, 1.0f);
  for (const std::int64_t width : {30, 70}) {
    CAPTURE(width);
    const Arena::Scope inner(arena);
    const Matrix hidden = arena.matrix(rows, width, DType::bf16);
    std::memset(hidden.data, 0xff, static_cast<std::size_t>(rows * hidden.stride_bytes()));
    CHECK(reinterpret_cast<std::uintptr_t>(hidden.data) % kAlignment == 0);
  }
  CHECK(std::count(x.row<float>(0), x.row<float>(0) + rows * 10, 1.0f) == rows * 10);
}

}  // namespace

TEST_CASE("the arena has the size of the largest pass so far") {
  constexpr std::size_t kFirst = 100 * (10 * 4 + 70 * 2);
  Arena arena;
  CHECK(arena.bytes() == 0);
  check_pass(arena, 100);
  const std::size_t first = arena.bytes();
  CHECK(first >= kFirst);
  CHECK(first <= kFirst + 3 * kAlignment);
  check_pass(arena, 100);
  check_pass(arena, 7);
  CHECK(arena.bytes() == first);
  check_pass(arena, 1000);
  CHECK(arena.bytes() > 9 * first);
  CHECK(arena.bytes() < 11 * first);
}

TEST_CASE("a scope that ends gives its memory back") {
  Arena arena;
  check_pass(arena, 50);
  const Arena::Scope scope(arena);
  void* before = nullptr;
  {
    const Arena::Scope inner(arena);
    before = arena.array<char>(100);
  }
  const Arena::Scope inner(arena);
  CHECK(static_cast<void*>(arena.array<char>(100)) == before);
}

TEST_CASE("a row of 4 KiB is spread where the matrix is not dense") {
  Arena arena;
  const Arena::Scope scope(arena);
  CHECK(arena.matrix(2, 1024, DType::f32).stride == 1024 + 32);
  CHECK(arena.dense(2, 1024).stride == 1024);
}

TEST_CASE("an odd row of bf16 ends with a zero that the kernels read") {
  Arena arena;
  const Arena::Scope scope(arena);
  const Matrix odd = arena.matrix(3, 5, DType::bf16);
  CHECK(odd.stride == 6);
  CHECK(odd.row<std::uint16_t>(2)[5] == 0);
}

TEST_CASE("slices of rows and columns") {
  Arena arena;
  const Arena::Scope scope(arena);
  const Matrix bytes = arena.matrix(3, 8, DType::s8);
  CHECK(bytes.scales != nullptr);
  REQUIRE(bytes.sums != nullptr);
  CHECK(bytes.row_slice(1, 2).sums == bytes.sums + 1);
  const Matrix odd = arena.matrix(3, 5, DType::bf16);
  const ConstMatrix slice = odd.row_slice(1, 2).column_slice(2, 3);
  CHECK(slice.rows == 2);
  CHECK(slice.columns == 3);
  CHECK(slice.data == static_cast<const void*>(odd.row<std::uint16_t>(1) + 2));
}
