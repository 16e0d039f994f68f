#include "test_device.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "activated_gemms.h"
#include "base/environment.h"
#include "base/error.h"
#include "base/item.h"
#include "gemm_plans.h"
#include "host_graphs.h"
#include "reference_kernels.h"

namespace torchclip::cuda {
namespace {

// A library of GEMMs with two proposals for every shape.
class HostGemms final : public GemmLibrary<int> {
 public:
  std::vector<int> propose(const GemmArgs&, bool) override { return {0, 1}; }
  bool accepts(const GemmArgs&, bool, const int&) override { return true; }
  std::vector<GemmTrial> try_out(const GemmArgs&, bool, const std::vector<int>&) override {
    return {{true, true, 2}, {true, true, 1}};
  }
};

// A Device on the host: memory of the host, products and attention as plain loops with the rounding of the GPU's
// numbers, kernels by host_cuda.h. With it the tests run the whole model without a GPU. What a GPU does beside its
// stream, copies to slots and the decoding of files, happens at once, and the work of the stream when it is waited for.

class HostDevice final : public Device {
 public:
  explicit HostDevice(const TestDevice& how) : how_(how) {}
  ~HostDevice() override { end_work(); }
  HostDevice(const HostDevice&) = delete;
  HostDevice& operator=(const HostDevice&) = delete;

  Stream stream() override { return queue_.get(); }
  std::string name() const override { return "a GPU's model on the host"; }
  std::int64_t multiprocessors() const override { return 128; }
  bool has_fp8() const override { return how_.fp8; }
  DeviceCounts counts() const override { return {passes_.counts(), plans_.timed(), 0, 0, 0, *used_}; }

  Memory allocate(std::size_t bytes) override {
    if (*used_ + bytes > how_.limit) throw core::Error(TORCHCLIP_E_OUT_OF_MEMORY, "CUDA out of memory (of the test)");
    *used_ += bytes;
    auto* memory = new char[bytes + 1];
    std::memset(memory, 0xff, bytes);  // NaN in every number: what is read must have been written
    return {memory, [used = used_, queue = queue_, bytes](void* p) {
              *used -= bytes;  // The next work of the stream may have it,
              const auto free = [p] { delete[] static_cast<char*>(p); };
              queue->is_empty() ? free() : queue->push(free);  // and the work before still uses it.
            }};
  }
  void free_cache() noexcept override {
    if (!capturer_.frees_memory()) return;
    end_work();
    attended_ = nullptr;
    for (auto& slot : slots_) slot = {};
  }
  void upload(void* to, const void* from, std::size_t bytes) override {
    queue_->run();
    std::memcpy(to, from, bytes);
  }
  void download(void* to, const void* from, std::size_t bytes) override {
    queue_->run();
    std::memcpy(to, from, bytes);
  }
  void fill(void* to, std::uint8_t value, std::size_t bytes) override {
    host::submit(stream(), [=] { std::memset(to, value, bytes); });
  }

  void* input_slot(int slot, std::size_t bytes) override { return grown(slots_[slot].input, bytes); }
  void* decode_slot(int slot, std::size_t bytes) override { return grown(slots_[slot].decoded, bytes); }
  void* host_slot(int slot, std::size_t bytes) override {
    auto& s = slots_[slot];
    if (s.sent.size() < bytes) s.sent.resize(bytes);
    return s.sent.data();
  }
  void upload_async(int slot, const void* from, std::size_t bytes) override {
    queue_->run_until(slots_[slot].end);
    std::memcpy(slots_[slot].input.get(), from, bytes);
  }
  void begin_batch(int) override {}
  void end_batch(int slot, void* to, const void* from, std::size_t bytes) override {
    auto& s = slots_[slot];
    s.to = to;
    queue_->push([&result = s.result, from, bytes] {
      result.assign(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
    });
    s.end = queue_->given();
  }
  void finish(int slot) override {
    auto& s = slots_[slot];
    queue_->run_until(s.end);
    if (s.to) std::memcpy(s.to, s.result.data(), s.result.size());
    s.to = nullptr;
  }

  void parallel(std::int64_t count, const std::function<void(std::int64_t)>& work) override {
    for (std::int64_t i = count - 1; i >= 0; --i) work(i);  // in no order that callers may count on
  }

  void gemm(const GemmArgs& args) override {
    if (args.dtype == DType::e4m3) require_fp8_product(args);
    plans_.choose(args, 256, how_.tune && !passes_.capturing());
    host::submit(stream(), [args] { multiply(args); });
  }

  void activated_gemm(const ActivatedGemm& gemm) override { run_by_two_kernels(*this, gemm); }

  const void* attend(const Attention& a) override {
    attended_ = allocate(static_cast<std::size_t>(a.query_tokens * a.heads * a.width * size_of(a.dtype)));
    host::submit(stream(), [a, out = attended_] { attend_to(a, out.get()); });
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
    for (JpegJob* job = jobs; job != jobs + count; ++job) {
      job->done = job->data[0] == 'O';
      if (job->done) std::copy_n(job->data + 4, job->width * job->height * 3, job->out);
    }
  }

  void run_captured(const std::string& key, const std::function<void()>& pass) override { passes_.run(key, pass); }
  void invalidate_graphs() noexcept override { passes_.invalidate(); }
  double time(int repeats, const std::function<void()>& work) override {
    queue_->run();
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < repeats; ++i) work();
    queue_->run();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repeats;
  }

 private:
  // What cuBLASLt asks of products of E4M3, and what the model promises of their scale.
  void require_fp8_product(const GemmArgs& p) const {
    const bool aligned = reinterpret_cast<std::uintptr_t>(p.a) % 16 == 0;
    int exponent = 0;
    const bool is_power = p.scale > 0 && std::isfinite(p.scale) && std::frexp(p.scale, &exponent) == 0.5f;
    if (how_.fp8 && aligned && p.inner % 16 == 0 && p.columns % 16 == 0 && p.out_dtype == DType::bf16 && is_power)
      return;
    throw core::Error(TORCHCLIP_E_INTERNAL, "a product of E4M3 that a GPU does not compute");
  }

  // The scale is 1 or a power of two, so that the division of the bias is exact.
  static void multiply(const GemmArgs& p) {
    using Pair [[gnu::vector_size(16)]] = double;
    constexpr std::int64_t kPairs = 4;  // of columns at a time, whose sums stay in registers
    const auto a = elements(p.a, p.dtype, p.rows * p.inner), w = elements(p.weights, p.dtype, p.columns * p.inner);
    std::vector<Pair> panel(static_cast<std::size_t>(p.inner * kPairs));
    for (std::int64_t first = 0; first < p.columns; first += 2 * kPairs) {
      const auto columns = std::min(2 * kPairs, p.columns - first);
      for (std::int64_t c = 0; c < columns; ++c) {
        for (std::int64_t i = 0; i < p.inner; ++i)
          core::item(panel, i * kPairs + c / 2)[c % 2] = core::item(w, (first + c) * p.inner + i);
      }
      for (std::int64_t r = 0; r < p.rows; ++r) {
        Pair s0{}, s1{}, s2{}, s3{};
        for (std::int64_t i = 0; i < p.inner; ++i) {
          const double x = core::item(a, r * p.inner + i);
          const Pair* at = panel.data() + i * kPairs;
          s0 += x * at[0];
          s1 += x * at[1];
          s2 += x * at[2];
          s3 += x * at[3];
        }
        const double sums[] = {s0[0], s0[1], s1[0], s1[1], s2[0], s2[1], s3[0], s3[1]};
        for (std::int64_t c = 0; c < columns; ++c) put_sum(p, r, first + c, sums[c]);
      }
    }
  }

  static std::vector<double> elements(const void* from, DType dtype, std::int64_t count) {
    std::vector<double> v;
    v.reserve(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) v.push_back(reference::element(from, dtype, i));
    return v;
  }

  static void put_sum(const GemmArgs& p, std::int64_t row, std::int64_t column, double sum) {
    if (p.bias) sum += reference::element(p.bias, p.out_dtype, column) / p.scale;
    auto result = static_cast<float>(p.scale * sum);
    if (p.gelu_tanh) result = reference::activate(result, Activation::gelu_tanh);
    if (p.accumulate) result += reference::element(p.out, p.out_dtype, row * p.stride + column);
    reference::set(p.out, p.out_dtype, row * p.stride + column, result);
  }

  static void attend_to(const Attention& a, void* out) {
    for (std::int64_t s = 0; s < a.sequences; ++s) {
      const std::int64_t first = a.query_starts[s], end = a.query_starts[s + 1];
      const std::int64_t key = a.key_starts[s], keys = a.key_starts[s + 1] - key;
      if (end - first > a.max_queries || keys > a.max_keys || end > a.query_tokens || key + keys > a.key_tokens ||
          (a.uniform && (end - first != a.max_queries || keys != a.max_keys))) {
        throw core::Error(TORCHCLIP_E_INTERNAL, "attention over sequences that are not as it was told");
      }
    }
    reference::attend(a, out);
  }

  // Runs the rest of the work, whose result nobody waits for.
  void end_work() noexcept {
    while (!queue_->is_empty()) {
      try {
        queue_->run();
      } catch (const std::exception&) {
      }
    }
  }

  void* grown(GrowingMemory& part, std::size_t bytes) {
    if (bytes > part.bytes()) queue_->run();
    return part.grow(*this, bytes);
  }

  const TestDevice how_;
  // Of memory that may outlive the device, too.
  std::shared_ptr<host::Queue> queue_ = std::make_shared<host::Queue>();
  std::shared_ptr<std::size_t> used_ = std::make_shared<std::size_t>(0);
  struct Slot {
    GrowingMemory input, decoded;
    void* to = nullptr;
    std::uint64_t end = 0;  // What the queue had been given when the slot's last pass ended.
    std::vector<char> sent, result;
  } slots_[kSlots];
  Memory attended_;
  HostGemms gemms_;
  GemmPlans<int> plans_{gemms_};
  HostCapturer capturer_{queue_.get(), how_.captures};
  CapturedPasses passes_{capturer_, core::environment("TORCHCLIP_CUDA_GRAPHS") != "0"};
};

}  // namespace

std::unique_ptr<Device> test_device(const TestDevice& how) { return std::make_unique<HostDevice>(how); }

bool is_host_device() { return true; }

}  // namespace torchclip::cuda
