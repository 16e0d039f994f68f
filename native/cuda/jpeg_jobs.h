// Which JPEG files the engines of a GPU decode together, and which are decoded one at a time. Nothing here knows
// nvJPEG: jpeg.cpp uses it with that library, and the tests with a model of it.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "device.h"
#include "workers.h"

namespace torchclip::cuda {

// Hardware that decodes a batch of files at once.
class JpegEngines {
 public:
  virtual ~JpegEngines() = default;
  // Whether the engines decode a file of this kind. Called by several threads at once, each with its own `lane`.
  virtual bool accepts(const JpegJob& job, std::int64_t lane) = 0;
  // Decodes the files, waits for all of them, and returns whether that succeeded. If not, some may be decoded, and
  // their memory holds anything.
  virtual bool decode(const std::vector<JpegJob*>& jobs) = 0;
};

// Decodes one file, waits for it and sets `done`. Called by several threads at once, each with its own `lane`.
using DecodeOne = std::function<void(JpegJob& job, std::int64_t lane)>;

class JpegJobs {
 public:
  // `engines` may be null; lanes: at most so many threads decode at a time.
  JpegJobs(JpegEngines* engines, std::int64_t lanes, Workers& workers, DecodeOne decode_one);

  // Decodes all jobs, sets `done` of each, and returns how many the engines decoded. The engines decode the files that
  // they accept, and the lanes the others meanwhile. Where the engines fail, the lanes decode each file of the batch,
  // so that a damaged one fails alone.
  std::int64_t decode(JpegJob* jobs, std::int64_t count);

 private:
  std::vector<std::uint8_t> accepted_by_engines(const JpegJob* jobs, std::int64_t count);
  // Calls work(job, lane) for each number below `count`; and `beside`, if it is not null, meanwhile.
  void on_lanes(std::int64_t count, const std::function<void(std::int64_t job, std::int64_t lane)>& work,
                const std::function<void()>& beside = nullptr);
  void decode_alone(const std::vector<JpegJob*>& jobs, const std::function<void()>& beside = nullptr);

  JpegEngines* engines_;
  const std::int64_t lanes_;
  Workers& workers_;
  const DecodeOne decode_one_;
};

}  // namespace torchclip::cuda
