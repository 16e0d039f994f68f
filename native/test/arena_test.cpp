// The memory of forward passes: matrices that grow without moving, scopes that give the same memory again, and one
// block for the largest pass so far.
#include "linalg/arena.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "check.h"

using namespace torchclip::core;

namespace {

bool aligned(const void* data) { return reinterpret_cast<std::uintptr_t>(data) % kAlignment == 0; }

// A pass with an outer matrix and two inner scopes of different sizes.
void pass(Arena& arena, std::int64_t rows) {
  const Arena::Scope scope(arena);
  const Matrix x = arena.dense(rows, 10);
  std::fill_n(x.row<float>(0), rows * 10, 1.0f);
  for (const std::int64_t width : {30, 70}) {
    const Arena::Scope inner(arena);
    const Matrix hidden = arena.matrix(rows, width, DType::bf16);
    std::memset(hidden.data, 0xff, static_cast<std::size_t>(rows * hidden.stride_bytes()));
    CHECK(aligned(hidden.data));
  }
  CHECK(std::all_of(x.row<float>(0), x.row<float>(0) + rows * 10, [](float value) { return value == 1.0f; }));
}

void growth() {
  Arena arena;
  CHECK(arena.bytes() == 0);
  pass(arena, 100);
  const std::size_t first = arena.bytes();
  CHECK(first >= 100 * (10 * 4 + 70 * 2) && first <= 100 * (10 * 4 + 70 * 2) + 3 * kAlignment);
  pass(arena, 100);
  pass(arena, 7);
  CHECK(arena.bytes() == first);
  pass(arena, 1000);
  CHECK(arena.bytes() > 9 * first && arena.bytes() < 11 * first);
}

void scopes() {
  Arena arena;
  pass(arena, 50);
  const Arena::Scope scope(arena);
  void* before = nullptr;
  {
    const Arena::Scope inner(arena);
    before = arena.array<char>(100);
  }
  const Arena::Scope inner(arena);
  CHECK(arena.array<char>(100) == before);
}

void shapes() {
  Arena arena;
  const Arena::Scope scope(arena);
  // A row of 4 KiB is spread; an odd row of bf16 ends with a zero that the kernels read.
  CHECK(arena.matrix(2, 1024, DType::f32).stride == 1024 + 32);
  CHECK(arena.dense(2, 1024).stride == 1024);
  const Matrix odd = arena.matrix(3, 5, DType::bf16);
  CHECK(odd.stride == 6 && odd.row<std::uint16_t>(2)[5] == 0);
  const Matrix bytes = arena.matrix(3, 8, DType::s8);
  CHECK(bytes.scales && bytes.sums && bytes.row_slice(1, 2).sums == bytes.sums + 1);
  const ConstMatrix slice = odd.row_slice(1, 2).column_slice(2, 3);
  CHECK(slice.rows == 2 && slice.columns == 3 && slice.data == odd.row<std::uint16_t>(1) + 2);
}

}  // namespace

int main() {
  growth();
  scopes();
  shapes();
  return torchclip::test::failures();
}
