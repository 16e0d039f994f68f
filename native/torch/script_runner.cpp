#include "script_runner.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/error.h"
#include "torch_module.h"

namespace torchclip::libtorch {
namespace {

c10::ScalarType scalar_type(std::string_view precision) {
  if (precision == "bf16") return at::kBFloat16;
  if (precision == "fp16") return at::kHalf;
  return at::kFloat;
}

std::uint64_t bytes_of(const torch::jit::Module& module) {
  std::uint64_t bytes = 0;
  for (const auto& p : module.parameters()) bytes += p.nbytes();
  for (const auto& p : module.buffers()) bytes += p.nbytes();
  return bytes;
}

}  // namespace

ScriptRunner::ScriptRunner(const torchclip_torch_model& model, const torchclip_torch_options& options)
    : device_(torch_device(options.cuda_device)),
      pixels_(model.pixels, model.image_size, device_),
      dtype_(scalar_type(options.precision)),
      deterministic_(options.deterministic != 0),
      image_size_(model.image_size),
      embed_dim_(model.embed_dim),
      pooled_dim_(model.pooled_dim),
      pad_id_(model.pad_id),
      trims_(model.trims != 0),
      free_cuda_cache_(options.free_cuda_cache) {
  at::set_num_threads(options.threads);
  if (model.third_party) {
    take_third_party(model.file);
  } else {
    generate(model);
  }
}

void ScriptRunner::generate(const torchclip_torch_model& model) {
  if (model.visual.module_count > 0) {
    const auto tower = module_of(model, model.visual, "visual");
    encode_image_ = tower.get_method("forward");
    pool_image_ = tower.get_method("pooled");
  }
  if (model.text.module_count > 0) encode_text_ = module_of(model, model.text, "text").get_method("forward");
}

torch::jit::Module ScriptRunner::module_of(const torchclip_torch_model& model, const torchclip_program& program,
                                           const char* tower) {
  auto module = generate_tower(model, program, tower, device_, dtype_);
  bytes_ += bytes_of(module);
  return module;
}

void ScriptRunner::take_third_party(const torchclip_file& file) {
  auto module = load_trusted(file);
  const auto scale = module.attr("logit_scale");
  if (!scale.isTensor() || scale.toTensor().numel() != 1) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, "its logit_scale is no single number");
  }
  logit_scale_ = std::exp(scale.toTensor().to(at::kFloat).item<float>());
  module.to(device_, dtype_);
  bytes_ = bytes_of(module);
  encode_image_ = module.get_method("encode_image");
  encode_text_ = module.get_method("encode_text");
}

// work(first, count) over all rows; where memory runs out, with half of them at a time.
template <typename Work>
void ScriptRunner::in_chunks(std::int64_t rows, Cancel cancel, Work&& work) const {
  std::int64_t chunk_rows = deterministic_ ? 1 : rows;
  for (std::int64_t first = 0; first < rows;) {
    check_cancel(cancel);
    const std::int64_t count = std::min(chunk_rows, rows - first);
    try {
      work(first, count);
      first += count;
    } catch (...) {
      if (count == 1 || current_failure().status != TORCHCLIP_E_OUT_OF_MEMORY) throw;
      chunk_rows = (count + 1) / 2;
      if (device_.is_cuda()) free_cuda_cache_();
    }
  }
}

void ScriptRunner::encode_pixels(const std::uint8_t* pixels, std::int64_t rows, ImageOutput output, float* out,
                                 Cancel cancel) {
  c10::InferenceMode inference;
  const bool pools = output == ImageOutput::pooled;
  auto& method = pools ? pool_image_ : encode_image_;
  if (!method) throw Error(TORCHCLIP_E_ARGUMENT, "the model gives no pooled features");
  const std::int64_t image_bytes = image_size_ * image_size_ * 3, dim = pools ? pooled_dim_ : embed_dim_;
  in_chunks(rows, cancel, [&](std::int64_t first, std::int64_t count) {
    run(*method, pixels_.of(pixels + first * image_bytes, count, dtype_), count, dim, out + first * dim);
  });
}

void ScriptRunner::encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int64_t length, float* out,
                                 Cancel cancel) {
  c10::InferenceMode inference;
  in_chunks(rows, cancel, [&](std::int64_t first, std::int64_t count) {
    std::int64_t used_length = length;
    if (deterministic_ && trims_) {  // the padding that other rows of the batch need must not matter
      while (used_length > 1 && ids[first * length + used_length - 1] == pad_id_) --used_length;
    }
    auto input = at::empty({count, used_length}, at::kLong);
    std::copy_n(ids + first * length, count * used_length, input.mutable_data_ptr<std::int64_t>());
    run(*encode_text_, input.to(device_), count, embed_dim_, out + first * embed_dim_);
  });
}

// Runs a method on `count` rows and writes its result to `out`. What a third-party method returns is checked at every
// call: float [count, dim], or Error(E_MODEL_CORRUPT).
void ScriptRunner::run(torch::jit::Method& method, at::Tensor input, std::int64_t count, std::int64_t dim,
                       float* out) const {
  torch::jit::GraphOptimizerEnabledGuard unoptimised(false);  // no re-specialisation for each batch size
  const auto value = method({std::move(input)});
  if (!value.isTensor() || !value.toTensor().defined() || !value.toTensor().is_floating_point() ||
      value.toTensor().sizes() != at::IntArrayRef({count, dim})) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT, "the model's method " + method.name() + " does not give float [" +
                                               std::to_string(count) + ", " + std::to_string(dim) + "]");
  }
  const auto rows = value.toTensor().to(at::kFloat).to(c10::kCPU).contiguous();
  std::copy_n(rows.const_data_ptr<float>(), count * dim, out);
}

}  // namespace torchclip::libtorch
