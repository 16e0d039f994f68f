#include "gpu.h"

#include <ATen/Context.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/_efficient_attention_forward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/InferenceMode.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>

#include "base/environment.h"
#include "blas.h"
#include "jpeg.h"

namespace torchclip::cuda {
namespace {

namespace allocator = c10::cuda::CUDACachingAllocator;

constexpr std::size_t kMaxGraphs = 64;  // captured passes that are kept

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // so that the next call does not report it again
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

bool enabled(const char* variable) { return core::environment(variable) != "0"; }

cudaStream_t raw(Stream stream) { return static_cast<cudaStream_t>(stream); }

class Event {
 public:
  explicit Event(unsigned flags = cudaEventDisableTiming) {
    check(cudaEventCreateWithFlags(&event_, flags), "an event");
  }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(cudaStream_t stream) { check(cudaEventRecord(event_, stream), "an event's recording"); }
  void hold(cudaStream_t stream) { check(cudaStreamWaitEvent(stream, event_, 0), "waiting for an event"); }
  void wait() { check(cudaEventSynchronize(event_), "the GPU's work"); }

 private:
  cudaEvent_t event_ = nullptr;
};

// Page-locked memory of the host: what copies beside the GPU's work need.
class Pinned {
 public:
  ~Pinned() { cudaFreeHost(data_); }
  void* grow(std::size_t bytes) {
    if (bytes > bytes_) {
      cudaFreeHost(data_);
      data_ = nullptr;
      bytes_ = 0;
      check(cudaMallocHost(&data_, bytes), "page-locked memory: out of memory");
      bytes_ = bytes;
    }
    return data_;
  }
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

at::ScalarType type_of(DType n) { return n == DType::f32 ? at::kFloat : n == DType::f16 ? at::kHalf : at::kBFloat16; }

class Gpu final : public Device {
 public:
  explicit Gpu(int index)
      : index_(static_cast<c10::DeviceIndex>(index)),
        stream_((enter(index_), c10::cuda::getStreamFromPool(false, index_))),
        copies_(c10::cuda::getStreamFromPool(false, index_)),
        graphs_enabled_(enabled("TORCHCLIP_CUDA_GRAPHS")),
        tune_(enabled("TORCHCLIP_CUDA_TUNE")) {
    c10::cuda::setCurrentCUDAStream(stream_);
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, index), "the GPU's properties");
    name_ = properties.name;
    flash_ = properties.major >= 8;  // libtorch's flash kernels need Ampere
    pool_ = at::cuda::graph_pool_handle();
  }

  ~Gpu() override {
    cudaStreamSynchronize(stream_.stream());
    cudaStreamSynchronize(copies_.stream());
  }

  Stream stream() override { return stream_.stream(); }
  std::string name() const override { return name_; }

  Memory allocate(std::size_t bytes) override {
    here();
    return {allocator::raw_alloc_with_stream(bytes, stream_.stream()), [](void* p) { allocator::raw_delete(p); }};
  }

  void free_cache() noexcept override {
    attended_ = at::Tensor();
    for (auto& slot : slots_) {
      slot.input = nullptr;
      slot.bytes = 0;
    }
    free_all_caches();
  }

  void upload(void* to, const void* from, std::size_t bytes) override {
    here();
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_.stream()), "a copy to the GPU");
    synchronize();
  }

  void download(void* to, const void* from, std::size_t bytes) override {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_.stream()), "a copy from the GPU");
    synchronize();
  }

  void fill(void* to, std::uint8_t value, std::size_t bytes) override {
    check(cudaMemsetAsync(to, value, bytes, stream_.stream()), "filling memory");
  }

  void* input_slot(int slot, std::size_t bytes) override {
    here();
    auto& s = slots_[slot];
    if (bytes > s.bytes) {
      invalidate_graphs();
      synchronize();  // the slot's last pass, and whoever had the new memory before: the copies' stream waits for
                      // neither
      s.input = nullptr;
      s.bytes = 0;
      s.input = allocate(bytes);
      s.bytes = bytes;
    }
    return s.input.get();
  }

  void upload_async(int slot, const void* from, std::size_t bytes) override {
    auto& s = slots_[slot];
    if (s.used) s.copied.wait();  // the page-locked memory is free again
    std::memcpy(s.in.grow(bytes), from, bytes);
    if (s.used) s.consumed.hold(copies_.stream());
    check(cudaMemcpyAsync(s.input.get(), s.in.data(), bytes, cudaMemcpyHostToDevice, copies_.stream()),
          "a copy to the GPU");
    s.copied.record(copies_.stream());
    s.used = true;
  }

  void begin_batch(int slot) override {
    here();
    slots_[slot].copied.hold(stream_.stream());
  }

  void end_batch(int slot, void* to, const void* from, std::size_t bytes) override {
    auto& s = slots_[slot];
    if (bytes) {
      check(cudaMemcpyAsync(s.out.grow(bytes), from, bytes, cudaMemcpyDeviceToHost, stream_.stream()),
            "a copy from the GPU");
    }
    s.consumed.record(stream_.stream());
    s.to = to;
    s.out_bytes = bytes;
    s.pending = true;
  }

  void finish(int slot) override {
    auto& s = slots_[slot];
    if (!s.pending) return;
    s.pending = false;
    s.consumed.wait();
    if (s.out_bytes) std::memcpy(s.to, s.out.data(), s.out_bytes);
  }

  void gemm(const GemmArgs& args) override { blas_.gemm(*this, args, tune_ && !capturing_); }

  const void* attend(const Attention& a) override {
    c10::InferenceMode inference;
    const auto options = at::TensorOptions(type_of(a.dtype)).device(at::kCUDA, index_);
    const auto view = [&](const void* data, std::int64_t tokens, std::int64_t each, std::int64_t stride, bool packed) {
      auto* from = const_cast<void*>(data);
      if (a.uniform) {
        return at::from_blob(from, {a.sequences, each, a.heads, a.width}, {each * stride, stride, a.width, 1}, options);
      }
      if (packed) return at::from_blob(from, {tokens, a.heads, a.width}, {stride, a.width, 1}, options);
      return at::from_blob(from, {1, tokens, a.heads, a.width}, {tokens * stride, stride, a.width, 1}, options);
    };
    const auto starts = [&](const std::int32_t* data) -> std::optional<at::Tensor> {
      if (a.uniform) return {};
      return at::from_blob(const_cast<std::int32_t*>(data), {a.sequences + 1}, options.dtype(at::kInt));
    };
    const bool flash = flash_ && a.dtype != DType::f32;
    const auto q = view(a.q, a.query_tokens, a.max_queries, a.q_stride, flash);
    const auto k = view(a.k, a.key_tokens, a.max_keys, a.kv_stride, flash);
    const auto v = view(a.v, a.key_tokens, a.max_keys, a.kv_stride, flash);
    attended_ = at::Tensor();
    if (flash) {
      attended_ = std::get<0>(at::_flash_attention_forward(q, k, v, starts(a.query_starts), starts(a.key_starts),
                                                           a.max_queries, a.max_keys, 0.0, a.causal, false, 1.0));
    } else {
      constexpr std::int64_t kNoMask = 0, kCausalFromTopLeft = 1;  // CustomMaskType of libtorch's mem_eff_attention
      std::optional<std::int64_t> max_queries, max_keys;
      if (!a.uniform) {
        max_queries = a.max_queries;
        max_keys = a.max_keys;
      }
      attended_ = std::get<0>(at::_efficient_attention_forward(q, k, v, {}, starts(a.query_starts),
                                                               starts(a.key_starts), max_queries, max_keys, 0.0,
                                                               a.causal ? kCausalFromTopLeft : kNoMask, false, 1.0));
    }
    attended_ = attended_.contiguous();
    return attended_.const_data_ptr();
  }

  bool jpeg_size(const std::uint8_t* data, std::size_t bytes, std::int32_t& width, std::int32_t& height) override {
    return jpeg() && jpeg()->size(data, bytes, width, height);
  }

  void decode_jpegs(JpegJob* jobs, std::int64_t count) override {
    here();
    if (jpeg()) jpeg()->decode(jobs, count, stream());
  }

  void run_captured(const std::string& key, const std::function<void()>& pass) override {
    here();
    if (!graphs_enabled_) return pass();
    auto& captured = passes_[key];
    captured.used = ++clock_;
    if (captured.graph) return captured.graph->replay();
    if (!captured.seen || captured.refused) {
      captured.seen = true;
      return pass();  // memory grows, GEMMs are timed: nothing of that can be captured
    }
    capture(key, pass);
  }

  void invalidate_graphs() noexcept override { passes_.clear(); }

  double time(int repeats, const std::function<void()>& work) override {
    here();
    for (int i = 0; i < 3; ++i) work();  // grows memory and times GEMMs, captures, replays
    Timer timer(stream());
    timer.begin();
    for (int i = 0; i < repeats; ++i) work();
    return timer.end() / 1000.0 / repeats;
  }

 private:
  static void enter(c10::DeviceIndex index) { c10::cuda::set_device(index); }
  void synchronize() { check(cudaStreamSynchronize(stream_.stream()), "the GPU's work"); }

  // The calling thread's device and stream: what libtorch's kernels and our launches go to.
  void here() {
    enter(index_);
    c10::cuda::setCurrentCUDAStream(stream_);
  }

  JpegDecoder* jpeg() {
    if (!jpeg_asked_) {
      jpeg_asked_ = true;
      std::string problem;  // no decoder: the CPU's is used
      jpeg_ = make_nvjpeg(index_, problem);
    }
    return jpeg_.get();
  }

  void capture(const std::string& key, const std::function<void()>& pass) {
    auto graph = std::make_unique<at::cuda::CUDAGraph>();
    attended_ = at::Tensor();
    capturing_ = true;
    bool good = false;
    try {
      graph->capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
      try {
        pass();
        good = passes_.count(key) > 0;  // else memory moved
      } catch (const std::exception&) {
        // The capture ends below, and the pass runs without a graph.
      }
      attended_ = at::Tensor();
      graph->capture_end();
    } catch (const std::exception&) {
      good = false;
    }
    capturing_ = false;
    cudaGetLastError();
    auto& captured = passes_[key];
    captured.seen = true;
    if (!good) {
      captured.refused = true;
      return pass();
    }
    captured.graph = std::move(graph);
    captured.graph->replay();
    if (passes_.size() > kMaxGraphs) {
      auto oldest = passes_.begin();
      for (auto at = passes_.begin(); at != passes_.end(); ++at) {
        if (at->second.used < oldest->second.used) oldest = at;
      }
      passes_.erase(oldest);
    }
  }

  struct Slot {
    Memory input;
    std::size_t bytes = 0;
    Pinned in, out;
    Event copied, consumed;
    void* to = nullptr;
    std::size_t out_bytes = 0;
    bool used = false, pending = false;
  };
  struct CapturedPass {
    std::unique_ptr<at::cuda::CUDAGraph> graph;
    bool seen = false, refused = false;
    std::uint64_t used = 0;
  };

  c10::DeviceIndex index_;
  c10::cuda::CUDAStream stream_, copies_;
  bool graphs_enabled_, tune_, flash_ = false, capturing_ = false;
  std::string name_;
  Blas blas_;
  at::Tensor attended_;
  std::unique_ptr<JpegDecoder> jpeg_;
  bool jpeg_asked_ = false;
  Slot slots_[kSlots];
  at::cuda::MempoolId_t pool_;
  std::map<std::string, CapturedPass> passes_;
  std::uint64_t clock_ = 0;
};

}  // namespace

std::unique_ptr<Device> make_gpu(int index) {
  at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);  // its allocator is of no use before
  return std::make_unique<Gpu>(index);
}

void free_all_caches() {
  try {
    allocator::emptyCache();
  } catch (const std::exception&) {
    // What cannot be freed stays cached; the allocation that needed it says so itself.
  }
}

Timer::Timer(Stream stream) : stream_(stream) {
  cudaEvent_t events[2];
  for (auto& event : events) check(cudaEventCreate(&event), "an event");
  first_ = events[0];
  last_ = events[1];
}

Timer::~Timer() {
  cudaEventDestroy(static_cast<cudaEvent_t>(first_));
  cudaEventDestroy(static_cast<cudaEvent_t>(last_));
}

void Timer::begin() { check(cudaEventRecord(static_cast<cudaEvent_t>(first_), raw(stream_)), "an event's recording"); }

float Timer::end() {
  check(cudaEventRecord(static_cast<cudaEvent_t>(last_), raw(stream_)), "an event's recording");
  check(cudaEventSynchronize(static_cast<cudaEvent_t>(last_)), "the GPU's work");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(first_), static_cast<cudaEvent_t>(last_)),
        "the time between two events");
  return milliseconds;
}

}  // namespace torchclip::cuda
