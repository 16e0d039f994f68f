#include "test_device.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <set>
#include <vector>

#include "base/error.h"
#include "reference_kernels.h"

namespace torchclip::cuda {
namespace {

// A Device on the host: memory of the host, products and attention as plain loops with the rounding of the GPU's
// numbers, kernels by host_cuda.h. With it the tests run the whole model without a GPU.

class HostDevice final : public Device {
 public:
  explicit HostDevice(std::uint64_t limit) : limit_(limit) {}

  Stream stream() override { return nullptr; }
  std::string name() const override { return "a GPU's model on the host"; }

  Memory allocate(std::size_t bytes) override {
    if (*used_ + bytes > limit_) throw core::Error(TORCHCLIP_E_OUT_OF_MEMORY, "CUDA out of memory (of the test)");
    *used_ += bytes;
    auto* memory = new char[bytes + 1];
    std::memset(memory, 0xff, bytes);  // NaN in every number: what is read must have been written
    return {memory, [used = used_, bytes](void* p) {
              *used -= bytes;
              delete[] static_cast<char*>(p);
            }};
  }
  void free_cache() noexcept override {
    attended_ = nullptr;
    for (auto& slot : slots_) slot = {};
  }
  void upload(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }
  void download(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }
  void fill(void* to, std::uint8_t value, std::size_t bytes) override { std::memset(to, value, bytes); }

  void* input_slot(int slot, std::size_t bytes) override {
    auto& s = slots_[slot];
    if (bytes > s.bytes) {
      invalidate_graphs();
      s = {};
      s.room = allocate(bytes);
      s.bytes = bytes;
    }
    return s.room.get();
  }
  void upload_async(int slot, const void* from, std::size_t bytes) override {
    std::memcpy(slots_[slot].room.get(), from, bytes);
  }
  void begin_batch(int) override {}
  void end_batch(int slot, void* to, const void* from, std::size_t bytes) override {
    auto& s = slots_[slot];
    s.to = to;
    s.result.assign(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
  }
  void finish(int slot) override {
    auto& s = slots_[slot];
    if (s.to) std::memcpy(s.to, s.result.data(), s.result.size());
    s.to = nullptr;
  }

  void gemm(const GemmArgs& p) override {
    const auto floats = [&](const void* from, std::int64_t n) {
      std::vector<float> v(static_cast<std::size_t>(n));
      for (std::int64_t i = 0; i < n; ++i) v[i] = reference::element(from, p.dtype, i);
      return v;
    };
    const auto a = floats(p.a, p.rows * p.inner), w = floats(p.weights, p.columns * p.inner);
    for (std::int64_t r = 0; r < p.rows; ++r) {
      for (std::int64_t c = 0; c < p.columns; ++c) {
        double sums[4] = {p.bias ? reference::element(p.bias, p.out_dtype, c) : 0, 0, 0, 0};
        const float *x = &a[r * p.inner], *y = &w[c * p.inner];
        for (std::int64_t i = 0; i < p.inner; i += 4) {
          for (int j = 0; j < 4; ++j) sums[j] += static_cast<double>(x[i + j]) * y[i + j];
        }
        auto result = static_cast<float>(sums[0] + sums[1] + sums[2] + sums[3]);
        if (p.gelu_tanh) result = reference::activate(result, Activation::gelu_tanh);
        if (p.accumulate) result += reference::element(p.out, p.out_dtype, r * p.stride + c);
        reference::set(p.out, p.out_dtype, r * p.stride + c, result);
      }
    }
  }

  const void* attend(const Attention& a) override {
    attended_ = allocate(static_cast<std::size_t>(a.query_tokens * a.heads * a.width * size_of(a.dtype)));
    for (std::int64_t s = 0; s < a.sequences; ++s) {
      const std::int64_t first = a.query_starts[s], end = a.query_starts[s + 1];
      const std::int64_t key = a.key_starts[s], keys = a.key_starts[s + 1] - key;
      if (end - first > a.max_queries || keys > a.max_keys || end > a.query_tokens || key + keys > a.key_tokens ||
          (a.uniform && (end - first != a.max_queries || keys != a.max_keys))) {
        throw core::Error(TORCHCLIP_E_INTERNAL, "attention over sequences that are not as it was told");
      }
      for (std::int64_t q = first; q < end; ++q) {
        for (std::int64_t h = 0; h < a.heads; ++h) one(a, q, key, a.causal ? std::min(keys, q - first + 1) : keys, h);
      }
    }
    return attended_.get();
  }

  // "JPEG" files of the tests: "OK" or "NO" (which fails while it is decoded), width, height, then the pixels.
  bool jpeg_size(const std::uint8_t* data, std::size_t bytes, std::int32_t& width, std::int32_t& height) override {
    if (bytes < 4 || (std::memcmp(data, "OK", 2) != 0 && std::memcmp(data, "NO", 2) != 0)) return false;
    width = data[2];
    height = data[3];
    return true;
  }
  void decode_jpegs(JpegJob* jobs, std::int64_t count) override {
    for (std::int64_t i = 0; i < count; ++i) {
      jobs[i].done = jobs[i].data[0] == 'O';
      if (jobs[i].done)
        std::memcpy(jobs[i].out, jobs[i].data + 4, static_cast<std::size_t>(jobs[i].width) * jobs[i].height * 3);
    }
  }

  void run_captured(const std::string& key, const std::function<void()>& pass) override {
    const bool again = !seen_.insert(key).second;
    // What a captured pass holds may not move: nothing is allocated the second time but what attention gives.
    recording_ = again;
    pass();
    recording_ = false;
    if (again && moved_) throw core::Error(TORCHCLIP_E_INTERNAL, "a captured pass moved memory: " + key);
    moved_ = false;
  }
  void invalidate_graphs() noexcept override {
    moved_ = recording_;
    seen_.clear();
  }
  double time(int repeats, const std::function<void()>& work) override {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < repeats; ++i) work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repeats;
  }

 private:
  void one(const Attention& a, std::int64_t query, std::int64_t key, std::int64_t keys, std::int64_t head) {
    const std::int64_t column = head * a.width;
    std::vector<double> weights(static_cast<std::size_t>(keys));
    double total = 0, most = -INFINITY;
    for (std::int64_t k = 0; k < keys; ++k) {
      double dot = 0;
      for (std::int64_t i = 0; i < a.width; ++i) {
        dot += static_cast<double>(reference::element(a.q, a.dtype, query * a.q_stride + column + i)) *
               reference::element(a.k, a.dtype, (key + k) * a.kv_stride + column + i);
      }
      weights[k] = dot;
      most = std::max(most, dot);
    }
    for (auto& w : weights) total += w = std::exp(w - most);
    for (std::int64_t i = 0; i < a.width; ++i) {
      double sum = 0;
      for (std::int64_t k = 0; k < keys; ++k) {
        sum += weights[k] / total * reference::element(a.v, a.dtype, (key + k) * a.kv_stride + column + i);
      }
      reference::set(attended_.get(), a.dtype, (query * a.heads + head) * a.width + i, static_cast<float>(sum));
    }
  }

  std::uint64_t limit_;
  std::shared_ptr<std::size_t> used_ = std::make_shared<std::size_t>(0);
  struct Slot {
    Memory room;
    std::size_t bytes = 0;
    void* to = nullptr;
    std::vector<char> result;
  } slots_[kSlots];
  Memory attended_;
  std::set<std::string> seen_;
  bool recording_ = false, moved_ = false;
};

}  // namespace

std::unique_ptr<Device> test_device(std::uint64_t limit) { return std::make_unique<HostDevice>(limit); }

}  // namespace torchclip::cuda
