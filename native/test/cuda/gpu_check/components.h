// The components of a pass over an image or text tower, each alone, with arbitrary numbers.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "device.h"
#include "kernels.h"
#include "layers.h"
#include "shapes.h"

namespace torchclip::gpu_check {

using core::DType;

constexpr std::int64_t kElement = 2, kFloat = 4;  // bytes of a number
constexpr std::int64_t kTextLength = 22;          // the median of the SST2 sentences
constexpr const char* kActivated = "up, activated";

struct Component {
  const char* name;
  double times;         // In a pass.
  double flops, bytes;  // Of one time; bytes that must be read and written if nothing is kept on the chip.
  std::function<void()> work;
};

// What the components of a tower depend on.
struct TowerSize {
  std::int64_t width, layers, heads, embed;
  std::int64_t length, longest;  // tokens of a sequence, and what the attention is told of the longest one
  bool causal;
  core::Activation activation;
};
TowerSize image_size_of(const Shape& shape);
TowerSize text_size_of(const Shape& shape);

// The memory of one pass, and what its layers do. The last layer runs for the pooled rows alone.
class Components {
 public:
  // `rows` of 0: as many sequences as a pass has.
  Components(const TowerSize& size, cuda::Device& device, std::int64_t rows);

  std::int64_t rows() const { return rows_; }
  std::int64_t tokens() const { return tokens_; }
  cuda::Device& device() const { return device_; }
  float* stream() const { return static_cast<float*>(floats_.get()); }
  void* narrow() const { return narrow_.get(); }

  std::vector<Component> layers();          // in bf16
  std::vector<Component> by_two_kernels();  // the component kActivated, by a GEMM and a kernel for the activation
  std::vector<Component> fp8_layers();      // what fp8 computes instead of, or beside, those of bf16
  std::vector<Component> last_layers();     // the last layer and what follows

  cuda::Memory values(DType dtype, std::int64_t count);  // arbitrary numbers
  Component product(const char* name, double times, std::int64_t rows, std::int64_t inner, std::int64_t columns,
                    const void* a, void* out, DType dtype, DType out_dtype = DType::bf16);

 private:
  Component norm(const char* name, double times, int deltas);
  Component activated(double times);
  Component activation(const char* name, double times, std::int64_t rows);
  Component attention(const char* name, double times, bool pooled);
  Component pooled_rows();
  Component projection();

  const TowerSize s_;
  cuda::Device& device_;
  std::int64_t rows_, tokens_, hidden_;
  cuda::Memory floats_, weights_, narrow_, delta_, wide_, quantized_, starts_;
};

// What comes before the first layer.
std::vector<Component> image_embedding(const Shape& shape, Components& components);
std::vector<Component> text_embedding(const Shape& shape, Components& components);

}  // namespace torchclip::gpu_check
