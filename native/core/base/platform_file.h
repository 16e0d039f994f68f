// What differs between operating systems in files. A descriptor is the number that open() of the C library gives, on
// Windows too. Functions that fail leave the reason in errno.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace torchclip::core {

struct FileState {
  std::uint64_t size = 0;   // in bytes
  bool is_regular = false;  // neither a folder nor a pipe nor a device
  // Differs when the file or its contents do: device, inode, size and the times of the last changes, then zeros.
  std::array<std::int64_t, 7> identity{};
};

// Opens a file by its path in UTF-8, without waiting for the writer of a pipe. Returns -1 if that fails.
int open_for_reading(const std::string& path);

// Creates the file, or empties the one that is there. Returns -1 if that fails.
int create_for_writing(const std::string& path);

// Returns 0, or -1 if it fails. The descriptor is closed in both cases.
int close_descriptor(int descriptor);

// Returns false if the system does not tell the state.
bool state_of(int descriptor, FileState& state);

// Reads or writes at most `bytes` bytes at `offset`. Thread-safe. Returns how many bytes it were, 0 at the end of the
// file, or -1 if that fails.
std::int64_t read_at(int descriptor, void* to, std::size_t bytes, std::uint64_t offset);
std::int64_t write_at(int descriptor, const void* from, std::size_t bytes, std::uint64_t offset);

// Maps the first `bytes` bytes of a file, at least one. Returns null if that fails.
const char* map_for_reading(int descriptor, std::size_t bytes);
void unmap(const char* data, std::size_t bytes) noexcept;

}  // namespace torchclip::core
