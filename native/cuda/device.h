// The interface of a GPU that the model uses besides the kernels: memory, copies, matrix multiplication, attention and
// captured passes. gpu.cpp implements it with CUDA, and native/test/cuda/host_device.cpp on the host, for tests without
// a GPU.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "kernels/kernels.h"
#include "numbers.h"

namespace torchclip::cuda {

// Memory of the device, which is freed with its last owner (in the order of the stream).
using Memory = std::shared_ptr<void>;

// out = scale a weights^T + bias, or with `accumulate` out += scale a weights^T + bias. Row-major; a and weights have
// one type. out is float or that type; of E4M3, which needs inner sizes and columns that are multiples of 16, it is
// bf16.
struct GemmArgs {
  const void* a = nullptr;           // [rows, inner]
  std::int64_t rows = 0, inner = 0;  // inner is a multiple of 8.
  const void* weights = nullptr;     // [columns, inner]
  std::int64_t columns = 0;
  DType dtype = DType::f32;
  const void* bias = nullptr;  // [columns] of the type of `out`, or null
  void* out = nullptr;         // [rows, columns], row stride `stride`
  std::int64_t stride = 0;     // elements
  DType out_dtype = DType::f32;
  float scale = 1;
  bool accumulate = false;  // Adds to out.
  bool gelu_tanh = false;   // Applies the tanh form of GELU to the result; not with accumulate.
};

// out = activation(a weights^T + bias). The product has no bias, activation or scale of its own, and does not
// accumulate.
struct ActivatedGemm {
  GemmArgs product;
  const float* bias = nullptr;  // [columns]
  core::Activation activation = core::Activation::none;
};

// Softmax attention over packed sequences; the queries are already scaled.
struct Attention {
  const void *q = nullptr, *k = nullptr, *v = nullptr;  // [tokens, heads, width], row strides below, of `dtype`
  std::int64_t q_stride = 0, kv_stride = 0;             // The distance in elements from one token to the next.
  DType dtype = DType::f32;
  std::int64_t heads = 0, width = 0;
  std::int64_t sequences = 0;
  std::int64_t query_tokens = 0, key_tokens = 0;                      // Of all sequences.
  const std::int32_t *query_starts = nullptr, *key_starts = nullptr;  // On the device, [sequences + 1].
  std::int64_t max_queries = 0, max_keys = 0;                         // The maximum of one sequence.
  bool uniform = false;                                               // Every sequence has max_queries and max_keys.
  bool causal = false;                                                // Query i attends to keys 0 ... i.
};

// A JPEG file to decode into uint8 [height, width, 3] on the device.
struct JpegJob {
  const std::uint8_t* data;
  std::size_t bytes;
  std::int32_t width, height;
  std::uint8_t* out;
  bool done = false;
};

struct GraphCounts {
  std::uint64_t captured = 0, replayed = 0, refused = 0;
  std::string problem;  // Why the last refused capture was refused; empty if none was.
};

// What a device did so far.
struct DeviceCounts {
  GraphCounts graphs;
  std::uint64_t timed_gemms = 0;       // Shapes of GEMMs whose plan was chosen by timing.
  std::uint64_t short_attentions = 0;  // Shapes of attention that the kernel of short sequences computes.
  std::uint64_t fused_gemms = 0;       // Shapes of ActivatedGemm that one kernel computes.
  std::uint64_t engine_jpegs = 0;      // JPEG files that hardware engines decoded.
  std::uint64_t reserved_bytes = 0;    // Memory that the process holds on the device, cached memory included.
};

class Device {
 public:
  virtual ~Device() = default;

  virtual Stream stream() = 0;
  virtual std::string name() const = 0;
  // A GEMM of 128 rows for each multiprocessor keeps all of them busy.
  virtual std::int64_t multiprocessors() const = 0;
  // Whether it multiplies E4M3.
  virtual bool has_fp8() const = 0;
  virtual DeviceCounts counts() const = 0;

  // Throws Error(E_OUT_OF_MEMORY).
  virtual Memory allocate(std::size_t bytes) = 0;
  // Returns unused memory to the system, including that of the slots. No pass may be in progress.
  virtual void free_cache() noexcept = 0;

  // These copies are complete when the call returns.
  virtual void upload(void* to, const void* from, std::size_t bytes) = 0;
  virtual void download(void* to, const void* from, std::size_t bytes) = 0;
  virtual void fill(void* to, std::uint8_t value, std::size_t bytes) = 0;  // Queued.

  // The input and output of a pass alternate between two slots, so that copies overlap with the previous pass.
  // input_slot returns the slot's memory on the device, host_slot its page-locked memory on the host, once an earlier
  // copy from it has ended. upload_async copies to input_slot while the device computes, once the slot's last pass has
  // finished: directly from page-locked memory, which must stay as it is until finish(), and otherwise through
  // host_slot. begin_batch makes the following work wait for that copy. end_batch copies the result to the host, where
  // finish() writes it to `to`; finish() does nothing if no pass is in progress.
  static constexpr int kSlots = 2;
  virtual void* input_slot(int slot, std::size_t bytes) = 0;
  virtual void* host_slot(int slot, std::size_t bytes) = 0;
  virtual void upload_async(int slot, const void* from, std::size_t bytes) = 0;
  virtual void begin_batch(int slot) = 0;
  virtual void end_batch(int slot, void* to, const void* from, std::size_t bytes) = 0;
  virtual void finish(int slot) = 0;

  // Calls work(0) ... work(count - 1) on threads of the host, and waits for all. Throws the first exception of `work`.
  virtual void parallel(std::int64_t count, const std::function<void(std::int64_t)>& work) = 0;

  virtual void gemm(const GemmArgs& args) = 0;
  // By one kernel where the device has one that is faster, else by two (activated_gemms.h).
  virtual void activated_gemm(const ActivatedGemm& gemm) = 0;
  // Returns the result, [query_tokens, heads, width], which is valid until the next call.
  virtual const void* attend(const Attention& attention) = 0;

  // Returns whether the device's JPEG decoder accepts a file, and the size of its image. Several threads may call it at
  // once.
  virtual bool jpeg_size(const std::uint8_t* data, std::size_t bytes, std::int32_t& width, std::int32_t& height) = 0;
  // Memory of a slot for the images that the next pass decodes; the slot's last pass has finished.
  virtual void* decode_slot(int slot, std::size_t bytes) = 0;
  // Decodes the jobs into memory of decode_slot, beside earlier passes, and sets `done` of each. The images are there
  // when the call returns.
  virtual void decode_jpegs(JpegJob* jobs, std::int64_t count) = 0;

  // Runs `pass`, whose launches depend on `key` only. If passes are captured, later calls with the same key replay it
  // (captured_passes.h).
  virtual void run_captured(const std::string& key, const std::function<void()>& pass) = 0;
  // Drops the captured passes, because memory that they use has moved.
  virtual void invalidate_graphs() noexcept = 0;
  // Returns the time in seconds that the device takes for `work`, as the mean of `repeats` runs after unmeasured
  // warm-up runs.
  virtual double time(int repeats, const std::function<void()>& work) = 0;
};

// Memory that grows to the largest size so far.
class GrowingMemory {
 public:
  // The device's captured passes are dropped if the memory moves.
  void* grow(Device& device, std::size_t bytes) {
    if (bytes > bytes_) {
      device.invalidate_graphs();
      *this = {};  // before the new memory is asked for
      memory_ = device.allocate(bytes);
      bytes_ = bytes;
    }
    return memory_.get();
  }
  void* get() const { return memory_.get(); }
  std::size_t bytes() const { return bytes_; }

 private:
  Memory memory_;
  std::size_t bytes_ = 0;
};

}  // namespace torchclip::cuda
