#include "base/platform_file.h"

#if defined(_WIN32)

#include <fcntl.h>
#include <io.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/platform_windows.h"

namespace torchclip::core {
namespace {

HANDLE handle_of(int descriptor) { return reinterpret_cast<HANDLE>(_get_osfhandle(descriptor)); }

// A part of a file, as ReadFile and WriteFile take it.
OVERLAPPED at(std::uint64_t offset) {
  OVERLAPPED place{};
  place.Offset = static_cast<DWORD>(offset);
  place.OffsetHigh = static_cast<DWORD>(offset >> 32);
  return place;
}

DWORD length_of(std::size_t bytes) { return static_cast<DWORD>(std::min(bytes, std::size_t{1} << 30)); }

std::uint64_t joined(DWORD high, DWORD low) { return std::uint64_t{high} << 32 | low; }

// What errno says for an error of Windows that is neither the end of the file nor a full disk.
int reason_of(DWORD error) {
  switch (error) {
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
      return ENOSPC;
    case ERROR_ACCESS_DENIED:
    case ERROR_LOCK_VIOLATION:
      return EACCES;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_COMMITMENT_LIMIT:
      return ENOMEM;
    default:
      return EIO;
  }
}

}  // namespace

int open_for_reading(const std::string& path) {
  return _wopen(path_of(path).c_str(), _O_RDONLY | _O_BINARY | _O_NOINHERIT);
}

int create_for_writing(const std::string& path) {
  constexpr int kFlags = _O_WRONLY | _O_CREAT | _O_TRUNC | _O_BINARY | _O_NOINHERIT;
  return _wopen(path_of(path).c_str(), kFlags, _S_IREAD | _S_IWRITE);
}

int close_descriptor(int descriptor) { return _close(descriptor); }

bool state_of(int descriptor, FileState& state) {
  const HANDLE file = handle_of(descriptor);
  BY_HANDLE_FILE_INFORMATION about{};
  if (!GetFileInformationByHandle(file, &about)) {
    errno = EIO;
    return false;
  }
  state.size = joined(about.nFileSizeHigh, about.nFileSizeLow);
  state.is_regular = GetFileType(file) == FILE_TYPE_DISK && (about.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) == 0;
  const FILETIME &created = about.ftCreationTime, &modified = about.ftLastWriteTime;
  state.identity = {static_cast<std::int64_t>(about.dwVolumeSerialNumber),
                    static_cast<std::int64_t>(joined(about.nFileIndexHigh, about.nFileIndexLow)),
                    static_cast<std::int64_t>(state.size),
                    static_cast<std::int64_t>(joined(modified.dwHighDateTime, modified.dwLowDateTime)),
                    static_cast<std::int64_t>(joined(created.dwHighDateTime, created.dwLowDateTime))};
  return true;
}

std::int64_t read_at(int descriptor, void* to, std::size_t bytes, std::uint64_t offset) {
  OVERLAPPED place = at(offset);
  DWORD done = 0;
  if (ReadFile(handle_of(descriptor), to, length_of(bytes), &done, &place)) return done;
  const DWORD error = GetLastError();
  if (error == ERROR_HANDLE_EOF) return 0;
  errno = reason_of(error);
  return -1;
}

std::int64_t write_at(int descriptor, const void* from, std::size_t bytes, std::uint64_t offset) {
  OVERLAPPED place = at(offset);
  DWORD done = 0;
  if (WriteFile(handle_of(descriptor), from, length_of(bytes), &done, &place)) return done;
  errno = reason_of(GetLastError());
  return -1;
}

const char* map_for_reading(int descriptor, std::size_t bytes) {
  const HANDLE mapping = CreateFileMappingW(handle_of(descriptor), nullptr, PAGE_READONLY, 0, 0, nullptr);
  if (!mapping) {
    errno = reason_of(GetLastError());
    return nullptr;
  }
  const void* mapped = MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, bytes);
  if (!mapped) errno = reason_of(GetLastError());
  CloseHandle(mapping);  // The view keeps it.
  return static_cast<const char*>(mapped);
}

void unmap(const char* data, std::size_t) noexcept { UnmapViewOfFile(data); }

}  // namespace torchclip::core

#endif
