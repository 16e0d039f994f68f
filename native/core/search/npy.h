// Reads the .npy files that an index is opened from: little-endian float32 [rows, dim] in C order, versions 1.0 to 3.0.
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/mapped_file.h"

namespace torchclip::core {

constexpr std::int64_t kMostDim = 65536;         // The largest dim of an index.
constexpr std::int64_t kMostRows = 0x7fffffff;   // The largest number of rows of an index: row numbers are int32.
constexpr std::size_t kMostNpyHeader = 1 << 16;  // In bytes; numpy writes 128.

struct NpyShape {
  std::int64_t rows = 0, dim = 0;
  std::size_t offset = 0;  // The position of the first value in bytes.
};

// Returns the shape in the header of a file of `file_bytes` bytes; `head` holds its first kMostNpyHeader bytes, or the
// whole file if it is shorter. Throws Error(E_INDEX_CORRUPT), with `name` at the start of the message, unless all
// values are inside the file.
NpyShape read_npy_shape(std::string_view head, std::size_t file_bytes, const std::string& name);

struct NpyRows {
  std::shared_ptr<const MappedFile> file;  // null: the caller owns the rows.
  std::int64_t rows, dim;
  const float* data;  // [rows, dim], inside the mapping
};

// Throws Error(E_INDEX_NOT_FOUND) or Error(E_INDEX_CORRUPT).
NpyRows map_npy(const std::string& path);

}  // namespace torchclip::core
