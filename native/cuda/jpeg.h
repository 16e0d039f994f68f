// JPEG decoding on a GPU by NVIDIA's nvJPEG, which is loaded on first use; nothing links to it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "device.h"
#include "workers.h"

namespace torchclip::cuda {

class JpegDecoder {
 public:
  virtual ~JpegDecoder() = default;
  // Thread-safe. Returns the size of a file that the decoder accepts, or false if it does not accept it (not a JPEG,
  // damaged, four components).
  virtual bool size(const std::uint8_t* data, std::size_t bytes, std::int32_t& width, std::int32_t& height) = 0;
  // Decodes all jobs, by hardware engines where there are some and they accept the file, on streams of its own, and
  // waits for them; no earlier work may use the memory that they write to. Sets `done` of each job; a bad file fails
  // without affecting the others.
  virtual void decode(JpegJob* jobs, std::int64_t count, Workers& workers) = 0;
  // How many files hardware engines decoded so far.
  virtual std::uint64_t by_engines() const = 0;
};

// Returns null if the library is not available; `problem` then says what to install.
std::unique_ptr<JpegDecoder> make_nvjpeg(int device, std::string& problem);

}  // namespace torchclip::cuda
