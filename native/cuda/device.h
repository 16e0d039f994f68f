// What the model needs of a GPU beside the kernels: memory, copies, matrix products, attention, recorded passes.
// gpu.cpp implements it on CUDA; native/test/cuda/host_device.cpp on the host, for tests without a GPU.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "numbers.h"

namespace torchclip::cuda {

// Memory of the device, freed with its last owner (in the order of the stream).
using Memory = std::shared_ptr<void>;

// out = a weights^T + bias, or out += that. Row-major; a and weights of one type, out float or that type.
struct Product {
  const void* a = nullptr;           // [rows, inner]
  std::int64_t rows = 0, inner = 0;  // inner a multiple of 8
  const void* weights = nullptr;     // [columns, inner]
  std::int64_t columns = 0;
  DType number = DType::f32;
  const void* bias = nullptr;  // [columns] of the type of `out`, or null
  void* out = nullptr;         // [rows, columns], row stride `stride`
  std::int64_t stride = 0;     // elements
  DType out_number = DType::f32;
  bool accumulate = false;  // out += ...
  bool gelu_tanh = false;   // GELU in its tanh form on the result; not with accumulate
};

// Softmax attention over packed sequences; queries are scaled already.
struct Attention {
  const void *q = nullptr, *k = nullptr, *v = nullptr;  // [tokens, heads, width], row strides below, of `number`
  std::int64_t q_stride = 0, kStride = 0;               // elements from one token to the next
  DType number = DType::f32;
  std::int64_t heads = 0, width = 0;
  std::int64_t sequences = 0;
  std::int64_t query_tokens = 0, key_tokens = 0;                      // of all sequences
  const std::int32_t *query_starts = nullptr, *key_starts = nullptr;  // on the device, [sequences + 1]
  std::int64_t most_queries = 0, most_keys = 0;                       // of one sequence, at most
  bool uniform = false;                                               // each sequence has most_queries and most_keys
  bool causal = false;                                                // query i sees keys 0 ... i
};

// A JPEG file to decode into uint8 [height, width, 3] on the device.
struct JpegJob {
  const std::uint8_t* data;
  std::size_t bytes;
  std::int32_t width, height;
  std::uint8_t* out;
  bool done = false;
};

class Device {
 public:
  virtual ~Device() = default;

  virtual Stream stream() = 0;
  virtual std::string name() const = 0;

  // Throws Error(E_OUT_OF_MEMORY).
  virtual Memory allocate(std::size_t bytes) = 0;
  // Gives memory that nobody uses back to the system, that of the slots included: no pass may be under way.
  virtual void free_cache() noexcept = 0;

  // Copies that are done when the call returns.
  virtual void upload(void* to, const void* from, std::size_t bytes) = 0;
  virtual void download(void* to, const void* from, std::size_t bytes) = 0;
  virtual void fill(void* to, std::uint8_t value, std::size_t bytes) = 0;  // queued

  // A pass's input and output go through two slots in turn, so that copies overlap with the pass before. upload_room
  // gives the slot's memory on the device, upload_ahead copies there (through pinned memory) beside what computes, once
  // the slot's last pass is done; begin_pass makes the following work wait for that; end_pass copies the result to the
  // host, where finish() puts it at `to` (it does nothing where no pass is under way).
  static constexpr int kSlots = 2;
  virtual void* upload_room(int slot, std::size_t bytes) = 0;
  virtual void upload_ahead(int slot, const void* from, std::size_t bytes) = 0;
  virtual void begin_pass(int slot) = 0;
  virtual void end_pass(int slot, void* to, const void* from, std::size_t bytes) = 0;
  virtual void finish(int slot) = 0;

  virtual void multiply(const Product& product) = 0;
  // The result, [query_tokens, heads, width], valid until the next call.
  virtual const void* attend(const Attention& attention) = 0;

  // Whether the device's JPEG decoder would take a file, and the size of its image.
  virtual bool jpeg_size(const std::uint8_t* data, std::size_t bytes, std::int32_t& width, std::int32_t& height) = 0;
  // Sets `done` of each job; what follows on the stream sees the images.
  virtual void decode_jpegs(JpegJob* jobs, std::int64_t count) = 0;

  // Runs `pass`, whose launches depend on `key` alone; where passes are recorded, later calls with the key replay it.
  virtual void run(const std::string& key, const std::function<void()>& pass) = 0;
  // Recorded passes are forgotten: memory that they use has moved.
  virtual void forget_passes() noexcept = 0;
  // Seconds that the device takes for `work`, the mean of `repeats` after two unmeasured ones.
  virtual double time(int repeats, const std::function<void()>& work) = 0;
};

}  // namespace torchclip::cuda
