#include "jpeg.h"

#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "jpeg_engines.h"
#include "jpeg_jobs.h"
#include "jpeg_markers.h"
#include "nvjpeg_library.h"

namespace torchclip::cuda {
namespace {

using nvjpeg::kSuccess;

// Every sequential or progressive JPEG of one or three components up to the size that the CPU decoder takes by default.
constexpr std::int64_t kMostPixels = 0x3fff * 0x3fff;

class NvJpeg final : public JpegDecoder {
 public:
  NvJpeg(int device, const nvjpeg::Library& library, void* handle)
      : device_(device),
        library_(library),
        handle_(handle),
        lanes_(std::clamp(std::thread::hardware_concurrency(), 1u, Workers::kMost)),
        engines_(make_jpeg_engines(library, device, static_cast<std::int64_t>(lanes_.size()))) {}

  ~NvJpeg() override {
    engines_.reset();
    for (auto& lane : lanes_) {
      if (lane.stream) cudaStreamSynchronize(lane.stream);
      if (lane.state) library_.destroy_state(lane.state);
      if (lane.stream) cudaStreamDestroy(lane.stream);
    }
    library_.destroy(handle_);
  }
  NvJpeg(const NvJpeg&) = delete;
  NvJpeg& operator=(const NvJpeg&) = delete;

  bool size(const std::uint8_t* data, std::size_t bytes, std::int32_t& width, std::int32_t& height) override {
    int components = 0, subsampling = 0, widths[4] = {}, heights[4] = {};
    if (library_.info(handle_, data, bytes, &components, &subsampling, widths, heights) != kSuccess) return false;
    if ((components != 1 && components != 3) || widths[0] < 1 || heights[0] < 1) return false;
    // nvJPEG takes every file of three components for YCbCr.
    if (components == 3 && is_rgb_jpeg(data, bytes)) return false;
    width = widths[0];
    height = heights[0];
    return static_cast<std::int64_t>(width) * height <= kMostPixels;
  }

  void decode(JpegJob* jobs, std::int64_t count, Workers& workers) override {
    const auto on_lane = [this](JpegJob& job, std::int64_t i) {
      auto& lane = lanes_[static_cast<std::size_t>(i)];
      c10::cuda::set_device(static_cast<c10::DeviceIndex>(device_));
      if (open(lane)) decode_one(lane, job);
    };
    JpegJobs all(engines_.get(), static_cast<std::int64_t>(lanes_.size()), workers, on_lane);
    by_engines_ += static_cast<std::uint64_t>(all.decode(jobs, count));
  }

  std::uint64_t by_engines() const override { return by_engines_; }

 private:
  struct Lane {
    cudaStream_t stream = nullptr;
    void* state = nullptr;
  };

  void decode_one(Lane& lane, JpegJob& job) {
    nvjpeg::Destination to{};
    to.channel[0] = job.out;
    to.pitch[0] = static_cast<std::size_t>(job.width) * 3;
    job.done = library_.decode(handle_, lane.state, job.data, job.bytes, nvjpeg::kInterleavedRgb, &to, lane.stream) ==
               kSuccess;
    // A state serves one image at a time; an error of the decoding itself shows here.
    job.done = cudaStreamSynchronize(lane.stream) == cudaSuccess && job.done;
    if (!job.done) cudaGetLastError();
  }

  bool open(Lane& lane) {
    if (!lane.stream && cudaStreamCreateWithFlags(&lane.stream, cudaStreamNonBlocking) != cudaSuccess) return false;
    return lane.state || library_.create_state(handle_, &lane.state) == kSuccess;
  }

  int device_;
  const nvjpeg::Library& library_;
  void* handle_;
  std::vector<Lane> lanes_;
  std::unique_ptr<JpegEngines> engines_;  // null: the device has none
  std::uint64_t by_engines_ = 0;
};

}  // namespace

std::unique_ptr<JpegDecoder> make_nvjpeg(int device, std::string& problem) {
  static std::string missing;
  static const nvjpeg::Library library(missing);
  problem = missing;
  if (!problem.empty()) return nullptr;
  void* handle = nullptr;
  if (library.create(&handle) != kSuccess) {
    problem = "nvJPEG does not start on this device";
    return nullptr;
  }
  return std::make_unique<NvJpeg>(device, library, handle);
}

}  // namespace torchclip::cuda
