#include "jpeg_engines.h"

#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime.h>

#include <utility>
#include <vector>

#include "jpeg_markers.h"

namespace torchclip::cuda {
namespace {

using nvjpeg::kSuccess;

class NvJpegEngines final : public JpegEngines {
 public:
  NvJpegEngines(const nvjpeg::Library& library, int device, std::int64_t lanes, void* handle)
      : library_(library), device_(device), handle_(handle), files_(static_cast<std::size_t>(lanes)) {}

  ~NvJpegEngines() override {
    if (stream_) cudaStreamSynchronize(stream_);
    for (void* file : files_) {
      if (file) library_.destroy_file(file);
    }
    if (state_) library_.destroy_state(state_);
    if (stream_) cudaStreamDestroy(stream_);
    library_.destroy(handle_);
  }
  NvJpegEngines(const NvJpegEngines&) = delete;
  NvJpegEngines& operator=(const NvJpegEngines&) = delete;

  // The stream and the state of the batches.
  bool open() {
    return cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking) == cudaSuccess &&
           library_.create_state(handle_, &state_) == kSuccess;
  }

  bool accepts(const JpegJob& job, std::int64_t lane) override {
    // What nvJPEG says of the engines and a file that is cut off is not documented, so they are not given one.
    if (!has_image_end(job.data, job.bytes)) return false;
    c10::cuda::set_device(static_cast<c10::DeviceIndex>(device_));
    void*& file = files_[static_cast<std::size_t>(lane)];
    if (!file && library_.create_file(handle_, &file) != kSuccess) return false;
    int refused = 1;
    return library_.parse_header(handle_, job.data, job.bytes, file) == kSuccess &&
           library_.refused(handle_, file, &refused) == kSuccess && refused == 0;
  }

  bool decode(const std::vector<JpegJob*>& jobs) override {
    c10::cuda::set_device(static_cast<c10::DeviceIndex>(device_));
    std::vector<const unsigned char*> data;
    std::vector<std::size_t> lengths;
    std::vector<nvjpeg::Destination> destinations;
    for (const auto* job : jobs) {
      data.push_back(job->data);
      lengths.push_back(job->bytes);
      nvjpeg::Destination to{};
      to.channel[0] = job->out;
      to.pitch[0] = static_cast<std::size_t>(job->width) * 3;
      destinations.push_back(to);
    }
    bool succeeded =
        library_.start_batch(handle_, state_, static_cast<int>(jobs.size()), 1, nvjpeg::kInterleavedRgb) == kSuccess &&
        library_.decode_batch(handle_, state_, data.data(), lengths.data(), destinations.data(), stream_) == kSuccess;
    // Also after a failure: files and memory may be in use until then. An error of the decoding itself shows here.
    succeeded = cudaStreamSynchronize(stream_) == cudaSuccess && succeeded;
    if (!succeeded) cudaGetLastError();
    return succeeded;
  }

 private:
  const nvjpeg::Library& library_;
  const int device_;
  void* handle_;
  std::vector<void*> files_;  // The parsed header of a file, one for each lane.
  void* state_ = nullptr;
  cudaStream_t stream_ = nullptr;
};

}  // namespace

std::unique_ptr<JpegEngines> make_jpeg_engines(const nvjpeg::Library& library, int device, std::int64_t lanes) {
  void* handle = nullptr;
  if (!library.has_engines()) return nullptr;
  if (library.create_with(nvjpeg::kHardware, nullptr, nullptr, 0, &handle) != kSuccess) return nullptr;
  auto made = std::make_unique<NvJpegEngines>(library, device, lanes, handle);
  // Without engines, some releases give this handle another decoder.
  unsigned count = 0, cores = 0;
  const bool has_engines = library.engines(handle, &count, &cores) == kSuccess && count > 0;
  if (!has_engines || !made->open()) return nullptr;
  return made;
}

}  // namespace torchclip::cuda
