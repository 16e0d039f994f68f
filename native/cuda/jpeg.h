// JPEG decoding on a GPU by NVIDIA's nvJPEG, loaded when it is first asked for: nothing links to it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "device.h"

namespace torchclip::cuda {

class JpegDecoder {
 public:
  virtual ~JpegDecoder() = default;
  // Thread-safe: the sizes of a file that it would decode; false: it would not (no JPEG, damaged, four components).
  virtual bool size(const std::uint8_t* data, std::size_t bytes, std::int32_t& width, std::int32_t& height) = 0;
  // All jobs, on threads and streams of its own; `stream` waits for them. Sets each job's `done`; a bad file fails
  // alone.
  virtual void decode(JpegJob* jobs, std::int64_t count, Stream stream) = 0;
};

// Null where the library is not there; `problem` then says what to install.
std::unique_ptr<JpegDecoder> make_nvjpeg(int device, std::string& problem);

}  // namespace torchclip::cuda
