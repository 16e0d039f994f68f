#include "gpu.h"

#include <ATen/Context.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "activated_gemms.h"
#include "attention.h"
#include "base/environment.h"
#include "base/error.h"
#include "blas.h"
#include "cuda_check.h"
#include "cudnn_gemms.h"
#include "event.h"
#include "graphs.h"
#include "jpeg.h"
#include "pinned.h"
#include "workers.h"

namespace torchclip::cuda {
namespace {

namespace allocator = c10::cuda::CUDACachingAllocator;

// An array of the driver's own for each allocation, so that compute-sanitizer sees what leaves it; libtorch's allocator
// divides larger pieces. Its end waits for the device's work.
Memory plain_memory(std::size_t bytes) {
  void* memory = nullptr;
  const auto status = cudaMalloc(&memory, std::max<std::size_t>(bytes, 1));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw core::Error(TORCHCLIP_E_OUT_OF_MEMORY, "CUDA out of memory");
  }
  check(status, "memory of the GPU");
  return {memory, [](void* p) { cudaFree(p); }};
}

bool enabled(const char* variable) { return core::environment(variable) != "0"; }

// A stream of this device alone. Those of libtorch's pool are shared: it has 32 of them, which it gives out in turn.
class OwnStream {
 public:
  explicit OwnStream(c10::DeviceIndex index) {
    c10::cuda::set_device(index);
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream");
  }
  ~OwnStream() {
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
  }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  cudaStream_t get() const { return stream_; }
  void synchronize() const { check(cudaStreamSynchronize(stream_), "the GPU's work"); }

 private:
  cudaStream_t stream_ = nullptr;
};

// Sets a flag for as long as it lives.
class Scope {
 public:
  explicit Scope(bool& flag) : flag_(flag) { flag_ = true; }
  ~Scope() { flag_ = false; }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  bool& flag_;
};

cudaDeviceProp properties_of(int index) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "the GPU's properties");
  return properties;
}

class Gpu final : public Device {
 public:
  Gpu(int index, bool tune)
      : index_(static_cast<c10::DeviceIndex>(index)),
        stream_(index_),
        copies_(index_),
        properties_(properties_of(index)),
        tune_(tune && enabled("TORCHCLIP_CUDA_TUNE")),
        plain_memory_(core::environment("TORCHCLIP_CUDA_PLAIN_MEMORY") == "1"),
        attention_(*this, index_, properties_.major >= 8),  // libtorch's flash kernels need Ampere
        passes_(capturer_, !plain_memory_ && enabled("TORCHCLIP_CUDA_GRAPHS")) {
    here();
  }

  ~Gpu() override {
    cudaSetDevice(index_);  // what is destroyed now belongs to it
    cudaStreamSynchronize(stream_.get());
    cudaStreamSynchronize(copies_.get());
  }

  Stream stream() override { return stream_.get(); }
  std::string name() const override { return properties_.name; }
  std::int64_t multiprocessors() const override { return properties_.multiProcessorCount; }
  // Ada (8.9), Hopper and Blackwell.
  bool has_fp8() const override { return properties_.major > 8 || (properties_.major == 8 && properties_.minor >= 9); }

  DeviceCounts counts() const override {
    const auto statistics = allocator::getDeviceStats(index_);
    constexpr auto kAll = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    DeviceCounts counts;
    counts.graphs = passes_.counts();
    counts.timed_gemms = blas_.timed();
    counts.short_attentions = attention_.short_shapes();
    counts.fused_gemms = activated_gemms_.fused_shapes();
    counts.engine_jpegs = jpeg_ ? jpeg_->by_engines() : 0;
    counts.reserved_bytes = static_cast<std::uint64_t>(statistics.reserved_bytes[kAll].current);
    return counts;
  }

  Memory allocate(std::size_t bytes) override {
    here();
    if (plain_memory_) return plain_memory(bytes);
    return {allocator::raw_alloc_with_stream(bytes, stream_.get()), [](void* p) { allocator::raw_delete(p); }};
  }

  void free_cache() noexcept override {
    attention_.release();
    cudaStreamSynchronize(copies_.get());  // which may still write to the slots
    for (auto& slot : slots_) slot.input = slot.decoded = {};
    free_all_caches();
  }

  void upload(void* to, const void* from, std::size_t bytes) override {
    here();
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_.get()), "a copy to the GPU");
    stream_.synchronize();
  }

  void download(void* to, const void* from, std::size_t bytes) override {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_.get()), "a copy from the GPU");
    stream_.synchronize();
  }

  void fill(void* to, std::uint8_t value, std::size_t bytes) override {
    check(cudaMemsetAsync(to, value, bytes, stream_.get()), "filling memory");
  }

  void* input_slot(int slot, std::size_t bytes) override {
    here();
    return grown(slots_[slot].input, bytes);
  }

  void* host_slot(int slot, std::size_t bytes) override {
    auto& s = slots_[slot];
    if (s.used) s.copied.wait();
    return s.in.grow(bytes);
  }

  void upload_async(int slot, const void* from, std::size_t bytes) override {
    auto& s = slots_[slot];
    const void* source = from;
    if (from != s.in.data() && !is_pinned(from)) {
      void* staging = host_slot(slot, bytes);
      workers_.copy(staging, from, bytes);
      source = staging;
    }
    if (s.used) s.consumed.hold(copies_.get());
    check(cudaMemcpyAsync(s.input.get(), source, bytes, cudaMemcpyHostToDevice, copies_.get()), "a copy to the GPU");
    s.copied.record(copies_.get());
    s.used = s.copying = true;
  }

  void begin_batch(int slot) override {
    here();
    slots_[slot].copied.hold(stream_.get());
  }

  void end_batch(int slot, void* to, const void* from, std::size_t bytes) override {
    auto& s = slots_[slot];
    if (bytes) {
      check(cudaMemcpyAsync(s.out.grow(bytes), from, bytes, cudaMemcpyDeviceToHost, stream_.get()),
            "a copy from the GPU");
    }
    s.consumed.record(stream_.get());
    s.to = to;
    s.out_bytes = bytes;
    s.pending = true;
  }

  void finish(int slot) override {
    auto& s = slots_[slot];
    // A batch that failed after its copy had begun: the caller's memory may be read until the copy has ended.
    if (std::exchange(s.copying, false) && !s.pending) s.copied.wait();
    if (!s.pending) return;
    s.pending = false;
    s.consumed.wait();
    if (s.out_bytes) std::memcpy(s.to, s.out.data(), s.out_bytes);
  }

  void parallel(std::int64_t count, const std::function<void(std::int64_t)>& work) override {
    workers_.run(count, work);
  }

  void gemm(const GemmArgs& args) override { blas_.gemm(args, may_time()); }

  void activated_gemm(const ActivatedGemm& gemm) override { activated_gemms_.run(gemm, planning()); }

  const void* attend(const Attention& attention) override {
    const auto guard = on_stream();
    return attention_.run(attention, may_time());
  }

  bool jpeg_size(const std::uint8_t* data, std::size_t bytes, std::int32_t& width, std::int32_t& height) override {
    return jpeg() && jpeg()->size(data, bytes, width, height);
  }

  void* decode_slot(int slot, std::size_t bytes) override {
    here();
    return grown(slots_[slot].decoded, bytes);
  }

  void decode_jpegs(JpegJob* jobs, std::int64_t count) override {
    here();
    if (jpeg()) jpeg()->decode(jobs, count, workers_);
  }

  void run_captured(const std::string& key, const std::function<void()>& pass) override {
    here();
    const auto guard = on_stream();
    attention_.release();  // what is allocated in a capture belongs to its pool, and nothing else does
    passes_.run(key, [&] {
      const Scope scope(recurring_);
      pass();
      if (passes_.capturing()) attention_.release();
    });
  }

  void invalidate_graphs() noexcept override { passes_.invalidate(); }

  double time(int repeats, const std::function<void()>& work) override {
    here();
    for (int i = 0; i < 3; ++i) work();  // grows memory and times GEMMs, captures, replays
    Timer timer(stream());
    timer.begin();
    for (int i = 0; i < repeats; ++i) work();
    return timer.end() / 1000.0 / repeats;
  }

 private:
  // Makes this the calling thread's device, where our launches go to.
  void here() { c10::cuda::set_device(index_); }

  // Makes the device's stream the one that libtorch's kernels and captures go to, as long as the guard lives:
  // afterwards nothing of the thread names a stream that ends with this device.
  c10::cuda::CUDAStreamGuard on_stream() const {
    return c10::cuda::CUDAStreamGuard(c10::cuda::getStreamFromExternal(stream_.get(), index_));
  }

  bool may_time() const { return tune_ && !passes_.capturing(); }

  Planning planning() const {
    if (!may_time()) return Planning::never;
    return recurring_ ? Planning::now : Planning::repeated;
  }

  JpegDecoder* jpeg() {
    std::call_once(jpeg_asked_, [this] {
      here();               // the decoder is made on this device
      std::string problem;  // no decoder: the CPU's is used
      jpeg_ = make_nvjpeg(index_, problem);
    });
    return jpeg_.get();
  }

  void* grown(GrowingMemory& part, std::size_t bytes) {
    if (bytes > part.bytes()) {
      // The slot's last pass reads its memory, a copy may write to it, and the new memory may be in use by earlier work
      // that neither the copies' stream nor a decoder waits for.
      stream_.synchronize();
      copies_.synchronize();
    }
    return part.grow(*this, bytes);
  }

  struct Slot {
    GrowingMemory input, decoded;
    Pinned in, out;
    Event copied, consumed;
    void* to = nullptr;
    std::size_t out_bytes = 0;
    bool used = false, copying = false, pending = false;
  };

  c10::DeviceIndex index_;
  OwnStream stream_, copies_;
  cudaDeviceProp properties_;
  bool tune_, plain_memory_;
  bool recurring_ = false;  // Whether a pass of one of a few sizes runs: those that are captured.
  Blas blas_{*this};
  CudnnGemms cudnn_{*this, cudnn::open_library, [] { static_cast<void>(cudaGetLastError()); }};
  ActivatedGemms activated_gemms_{*this, &cudnn_};
  GpuAttention attention_;
  std::unique_ptr<JpegDecoder> jpeg_;
  std::once_flag jpeg_asked_;
  Workers workers_;
  Slot slots_[kSlots];
  CudaCapturer capturer_;
  CapturedPasses passes_;
};

}  // namespace

std::unique_ptr<Device> make_gpu(int index, bool tune) {
  at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);  // its allocator is of no use before
  return std::make_unique<Gpu>(index, tune);
}

void free_all_caches() {
  try {
    allocator::emptyCache();
  } catch (const std::exception&) {
    // What cannot be freed stays cached; the allocation that needed it says so itself.
  }
}

}  // namespace torchclip::cuda
