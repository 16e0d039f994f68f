#include "jpeg.h"

#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime.h>
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "jpeg_markers.h"

#if __has_include(<nvjpeg.h>)
#include <nvjpeg.h>
#endif

namespace torchclip::cuda {
namespace {

// The few of nvJPEG's declarations that are used, so that its header is not needed; the values are part of its ABI.
struct Destination {
  unsigned char* channel[4];
  std::size_t pitch[4];
};
constexpr int kSuccess = 0, kInterleavedRgb = 5;
#if __has_include(<nvjpeg.h>)
static_assert(kSuccess == NVJPEG_STATUS_SUCCESS && kInterleavedRgb == NVJPEG_OUTPUT_RGBI);
static_assert(sizeof(Destination) == sizeof(nvjpegImage_t) && NVJPEG_MAX_COMPONENT == 4);
#endif

// Every sequential or progressive JPEG of one or three components up to the size that the CPU decoder takes by default.
constexpr std::int64_t kMostPixels = 0x3fff * 0x3fff;

class Library {
 public:
  explicit Library(std::string& problem) {
    for (const char* name : {"libnvjpeg.so.13", "libnvjpeg.so.12", "libnvjpeg.so"}) {
      handle_ = dlopen(name, RTLD_NOW | RTLD_LOCAL);
      if (handle_) break;
    }
    if (!handle_) {
      problem = "nvJPEG was not found (libnvjpeg.so.13); install NVIDIA's toolkit, or `pip install nvidia-nvjpeg`";
      return;
    }
    const auto find = [&](auto& to, const char* name) {
      to = reinterpret_cast<std::remove_reference_t<decltype(to)>>(dlsym(handle_, name));
      if (!to) problem = std::string("this nvJPEG lacks ") + name;
    };
    find(create, "nvjpegCreateSimple");
    find(destroy, "nvjpegDestroy");
    find(create_state, "nvjpegJpegStateCreate");
    find(destroy_state, "nvjpegJpegStateDestroy");
    find(info, "nvjpegGetImageInfo");
    find(decode, "nvjpegDecode");
  }

  int (*create)(void** handle) = nullptr;
  int (*destroy)(void* handle) = nullptr;
  int (*create_state)(void* handle, void** state) = nullptr;
  int (*destroy_state)(void* state) = nullptr;
  int (*info)(void* handle, const unsigned char* data, std::size_t length, int* components, int* subsampling,
              int* widths, int* heights) = nullptr;
  int (*decode)(void* handle, void* state, const unsigned char* data, std::size_t length, int format,
                Destination* destination, cudaStream_t stream) = nullptr;

 private:
  void* handle_ = nullptr;  // kept for the process
};

class NvJpeg final : public JpegDecoder {
 public:
  NvJpeg(int device, const Library& library, void* handle)
      : device_(device),
        library_(library),
        handle_(handle),
        lanes_(std::clamp(std::thread::hardware_concurrency(), 1u, Workers::kMost)) {}

  ~NvJpeg() override {
    for (auto& lane : lanes_) {
      if (lane.stream) cudaStreamSynchronize(lane.stream);
      if (lane.state) library_.destroy_state(lane.state);
      if (lane.stream) cudaStreamDestroy(lane.stream);
    }
    library_.destroy(handle_);
  }

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
    std::atomic<std::int64_t> next{0};
    const auto lanes = std::min(static_cast<std::int64_t>(lanes_.size()), count);
    workers.run(lanes, [&](std::int64_t i) {
      auto& lane = lanes_[static_cast<std::size_t>(i)];
      c10::cuda::set_device(static_cast<c10::DeviceIndex>(device_));
      if (!open(lane)) return;
      for (std::int64_t job; (job = next++) < count;) decode_one(lane, jobs[job]);
    });
  }

 private:
  struct Lane {
    cudaStream_t stream = nullptr;
    void* state = nullptr;
  };

  void decode_one(Lane& lane, JpegJob& job) {
    Destination to{};
    to.channel[0] = job.out;
    to.pitch[0] = static_cast<std::size_t>(job.width) * 3;
    job.done = library_.decode(handle_, lane.state, job.data, job.bytes, kInterleavedRgb, &to, lane.stream) == kSuccess;
    // A state serves one image at a time; an error of the decoding itself shows here.
    job.done = cudaStreamSynchronize(lane.stream) == cudaSuccess && job.done;
    if (!job.done) cudaGetLastError();
  }

  bool open(Lane& lane) {
    if (!lane.stream && cudaStreamCreateWithFlags(&lane.stream, cudaStreamNonBlocking) != cudaSuccess) return false;
    return lane.state || library_.create_state(handle_, &lane.state) == kSuccess;
  }

  int device_;
  const Library& library_;
  void* handle_;
  std::vector<Lane> lanes_;
};

}  // namespace

std::unique_ptr<JpegDecoder> make_nvjpeg(int device, std::string& problem) {
  static std::string missing;
  static const Library library(missing);
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
