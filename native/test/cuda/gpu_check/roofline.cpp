// What each component of an image pass costs: its FLOPs and bytes, its time, and how much of the device's own peak of
// the two it reaches. The peak of FLOPs is that of bf16, of which products of FP8 may reach more than the whole.
#include <algorithm>
#include <cstdio>

#include "kernels.h"
#include "layers.h"
#include "measure.h"
#include "passes.h"
#include "test_device.h"

namespace torchclip::gpu_check {
namespace {

using core::DType;

constexpr std::int64_t kElement = 2, kFloat = 4;  // bytes of a number

struct Component {
  const char* name;
  double times;         // In a pass.
  double flops, bytes;  // Of one time; bytes that must be read and written if nothing is kept on the chip.
  std::function<void()> work;
};

// The memory of one pass, with arbitrary contents, and its components. `rows` of 0: as many images as a pass has.
class Components {
 public:
  Components(const Subject& subject, cuda::Device& device, std::int64_t rows)
      : s_(subject.shape),
        device_(device),
        grid_(s_.size / s_.patch),
        length_(grid_ * grid_ + 1),
        rows_(rows > 0 ? rows : std::max<std::int64_t>(1, cuda::pass_tokens(device) / length_)),
        tokens_(rows_ * length_),
        hidden_(4 * s_.width),
        inner_(core::round_up(3 * s_.patch * s_.patch, cuda::kInnerMultiple)),
        table_(values(DType::f32, 768)),
        floats_(values(DType::f32, tokens_ * s_.width)),
        positions_(values(DType::f32, length_ * s_.width)),
        narrow_(values(DType::bf16, tokens_ * std::max(s_.width, inner_))),
        delta_(values(DType::bf16, tokens_ * s_.width)),
        wide_(values(DType::bf16, tokens_ * hidden_)),
        quantized_(values(DType::e4m3, tokens_ * hidden_)),
        pixels_(device.allocate(static_cast<std::size_t>(rows_ * s_.size * s_.size * 3))),
        starts_(device.allocate(static_cast<std::size_t>(rows_ + 1) * 4)) {
    device.fill(pixels_.get(), 100, static_cast<std::size_t>(rows_ * s_.size * s_.size * 3));
    std::vector<std::int32_t> starts;
    for (std::int64_t r = 0; r <= rows_; ++r) starts.push_back(static_cast<std::int32_t>(r * length_));
    device.upload(starts_.get(), starts.data(), starts.size() * 4);
  }

  std::int64_t rows() const { return rows_; }

  std::vector<Component> all() {
    const auto layers = static_cast<double>(s_.layers);
    const std::int64_t w = s_.width, patches = rows_ * grid_ * grid_;
    const auto t = static_cast<double>(tokens_), width = static_cast<double>(w);
    const auto stream = device_.stream();
    auto* x = static_cast<float*>(floats_.get());
    return {
        {"patches", 1, 0, static_cast<double>(rows_ * s_.size * s_.size * 3 + patches * inner_ * kElement),
         [=, this] {
           cuda::patches(stream, static_cast<std::uint8_t*>(pixels_.get()), rows_, s_.size, s_.patch, inner_,
                         static_cast<float*>(table_.get()), DType::bf16, narrow_.get());
         }},
        product("patch product", 1, patches, inner_, w, narrow_.get(), x, DType::bf16, DType::f32),
        // After the attention, the stream and one delta are read; after the MLP, both deltas, and the stream is
        // written.
        {"norm of 1 delta", layers, 0, t * width * (kFloat + 2 * kElement), [=, this] { add_norm(false); }},
        {"norm of 2 deltas", layers, 0, t * width * (2 * kFloat + 3 * kElement), [=, this] { add_norm(true); }},
        product("qkv", layers, tokens_, w, 3 * w, narrow_.get(), wide_.get(), DType::bf16),
        {"attention", layers, 4 * t * static_cast<double>(length_) * width, t * 4 * width * kElement,
         [=, this] { attend(); }},
        product("out", layers, tokens_, w, w, narrow_.get(), delta_.get(), DType::bf16),
        product("up", layers, tokens_, w, hidden_, narrow_.get(), wide_.get(), DType::bf16),
        {"activation", layers, 0, t * 4 * width * 2 * kElement,
         [=, this] {
           cuda::bias_activation(stream, wide_.get(), DType::bf16, tokens_, hidden_, x, DType::f32,
                                 cuda::Activation::quick_gelu);
         }},
        product("down", layers, tokens_, hidden_, w, wide_.get(), delta_.get(), DType::bf16),
    };
  }

  // What fp8 computes instead of, or beside, the components of bf16.
  std::vector<Component> of_fp8() {
    const auto layers = static_cast<double>(s_.layers);
    const std::int64_t w = s_.width;
    const auto stream = device_.stream();
    const cuda::NumberFormat format{DType::e4m3, 1};
    const auto* bias = static_cast<float*>(floats_.get());
    return {
        product("fp8 qkv", layers, tokens_, w, 3 * w, quantized_.get(), wide_.get(), DType::e4m3),
        product("fp8 out", layers, tokens_, w, w, quantized_.get(), delta_.get(), DType::e4m3),
        product("fp8 up", layers, tokens_, w, hidden_, quantized_.get(), wide_.get(), DType::e4m3),
        product("fp8 down", layers, tokens_, hidden_, w, quantized_.get(), delta_.get(), DType::e4m3),
        {"fp8 quantize", layers, 0, static_cast<double>(tokens_ * w * (kElement + 1)),
         [=, this] { cuda::quantize(stream, narrow_.get(), tokens_ * w, format, quantized_.get()); }},
        {"fp8 activation", layers, 0, static_cast<double>(tokens_ * hidden_ * (kElement + 1)),
         [=, this] {
           cuda::bias_activation_to(stream, wide_.get(), tokens_, hidden_, bias, cuda::Activation::quick_gelu, format,
                                    quantized_.get());
         }},
    };
  }

 private:
  cuda::Memory values(DType dtype, std::int64_t count) {
    auto memory = device_.allocate(static_cast<std::size_t>(count * core::size_of(dtype)));
    cuda::fill_values(device_.stream(), dtype, count, memory.get());
    return memory;
  }

  Component product(const char* name, double times, std::int64_t rows, std::int64_t inner, std::int64_t columns,
                    const void* a, void* out, DType dtype, DType out_dtype = DType::bf16) {
    cuda::Linear layer{values(dtype, columns * inner), values(out_dtype, columns), columns, inner, dtype, out_dtype};
    const std::int64_t out_bytes = rows * columns * core::size_of(out_dtype);
    const std::int64_t bytes = (rows + columns) * inner * core::size_of(dtype) + out_bytes;
    return {name, times, 2.0 * static_cast<double>(rows * inner) * static_cast<double>(columns),
            static_cast<double>(bytes), [=, this] { cuda::multiply(device_, a, rows, layer, out, out_dtype); }};
  }

  void add_norm(bool both) {
    const cuda::NormWeights norm{static_cast<float*>(positions_.get()), static_cast<float*>(positions_.get()), 1e-5f};
    const auto* delta = static_cast<cuda::Bf16*>(delta_.get());
    const cuda::Deltas deltas{delta, both ? delta : nullptr};
    cuda::add_norm(device_.stream(), static_cast<float*>(floats_.get()), deltas, both, tokens_, s_.width, norm,
                   {DType::bf16, 1}, narrow_.get());
  }

  void attend() {
    const std::int64_t w = s_.width;
    auto* qkv = static_cast<char*>(wide_.get());
    cuda::Attention a;
    a.q = qkv;
    a.k = qkv + w * kElement;
    a.v = qkv + 2 * w * kElement;
    a.q_stride = a.kv_stride = 3 * w;
    a.dtype = DType::bf16;
    a.heads = s_.heads;
    a.width = w / s_.heads;
    a.sequences = rows_;
    a.query_tokens = a.key_tokens = tokens_;
    a.query_starts = a.key_starts = static_cast<std::int32_t*>(starts_.get());
    a.max_queries = a.max_keys = length_;
    a.uniform = true;
    device_.attend(a);
  }

  const Shape& s_;
  cuda::Device& device_;
  std::int64_t grid_, length_, rows_, tokens_, hidden_, inner_;
  cuda::Memory table_, floats_, positions_, narrow_, delta_, wide_, quantized_, pixels_, starts_;
};

// Microseconds an image of a pass of `rows` images.
double measure_component(Run& run, const Subject& subject, cuda::Device& device, const Component& c,
                         std::int64_t rows) {
  const double seconds = device.time(repeats_for(run, device.time(1, c.work)), c.work);
  const double flops_share = c.flops / seconds / run.flops_peak(), bytes_share = c.bytes / seconds / run.bytes_peak();
  const double each = 1e6 * seconds * c.times / static_cast<double>(rows);
  std::printf("  %-16s %3.0f x %8.1f us  %7.3f us an image  %6.1f GFLOP (%3.0f %%)  %7.1f MB (%3.0f %%)\n", c.name,
              c.times, 1e6 * seconds, each, c.flops / 1e9, 100 * flops_share, c.bytes / 1e6, 100 * bytes_share);
  run.report.add(Row("components")
                     .text("model", subject.shape.name)
                     .text("component", c.name)
                     .number("times", c.times)
                     .number("microseconds", 1e6 * seconds)
                     .number("microsecondsPerImage", each)
                     .number("flops", c.flops)
                     .number("bytes", c.bytes)
                     .number("flopsShare", flops_share)
                     .number("bytesShare", bytes_share));
  return each;
}

}  // namespace

void measure_components(Run& run, const Subject& subject) {
  const auto device = cuda::test_device();
  Components components(subject, *device, run.options.dry ? 2 : 0);
  std::printf("%-9s bf16 components of a pass of %lld images\n", subject.shape.name,
              static_cast<long long>(components.rows()));
  double total = 0;
  for (const auto& c : components.all()) total += measure_component(run, subject, *device, c, components.rows());
  std::printf("  %-16s %.3f us an image: %.0f images/s without anything between\n", "together", total, 1e6 / total);
  if (!device->has_fp8()) return;
  for (const auto& c : components.of_fp8()) measure_component(run, subject, *device, c, components.rows());
}

}  // namespace torchclip::gpu_check
