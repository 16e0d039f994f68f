// A CUDA backend in C++ that computes simple things instead of a model (native/test/backend_test.cpp states what it
// expects of them). It shares nothing with the core but the C headers, and it is compiled with another standard
// library: its strings, vectors and exceptions must not meet those of the core.
#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "backend/cuda_table.h"

struct torchclip_cuda_model {
  std::string precision;
  std::vector<float> norm;  // The values of "visual.ln_post.weight".
  std::int32_t images = 0, texts = 0;
  std::int64_t embed_dim = 0, context_length = 0, image_bytes = 0;
};

namespace {

// A failure of the core that a callback reported.
struct CoreFailure {
  int32_t status;
};

template <typename Work>
int32_t guarded(torchclip_backend_error* error, Work&& work) noexcept {
  const auto report = [error](int32_t status, const char* message) {
    error->status = status;
    std::strncpy(error->message, message, sizeof error->message - 1);
    error->message[sizeof error->message - 1] = '\0';
    return status;
  };
  try {
    work();
    return TORCHCLIP_OK;
  } catch (const CoreFailure& failure) {
    return failure.status;  // the core has described it
  } catch (const std::bad_alloc&) {
    return report(TORCHCLIP_E_OUT_OF_MEMORY, "the fake GPU has no memory");
  } catch (const std::exception& e) {
    return report(TORCHCLIP_E_INTERNAL, e.what());
  }
}

std::vector<float> values_of(const torchclip_cuda_source& source, const char* name, torchclip_backend_error* error) {
  torchclip_floats tensor{};
  const int32_t status = source.take_tensor(source.context, name, &tensor, error);
  if (status != TORCHCLIP_OK) throw CoreFailure{status};
  if (!tensor.values) return {};
  std::int64_t count = 1;
  for (std::uint32_t axis = 0; axis < tensor.axes; ++axis) count *= tensor.shape[axis];
  std::vector<float> values(tensor.values, tensor.values + count);
  source.release_tensor(source.context, tensor.owner);
  return values;
}

int32_t make_model(const torchclip_cuda_source* source, torchclip_cuda_model** model, torchclip_backend_error* error) {
  return guarded(error, [&] {
    if (source->size < sizeof *source) throw std::logic_error("a struct of the core is too small");
    const std::string config(source->config, source->config_bytes);
    if (config.find("\"image\"") == std::string::npos) throw std::invalid_argument("no settings: " + config);
    if (!values_of(*source, "no.such.tensor", error).empty()) throw std::logic_error("a tensor out of nothing");
    auto made = std::make_unique<torchclip_cuda_model>();
    made->precision = source->precision;
    made->norm = values_of(*source, "visual.ln_post.weight", error);
    made->images = source->images;
    made->texts = source->texts;
    made->embed_dim = source->embed_dim;
    made->context_length = source->context_length;
    made->image_bytes = std::int64_t{3} * source->transform.size * source->transform.size;
    *model = made.release();
  });
}

void destroy_model(torchclip_cuda_model* model) { delete model; }

void model_info(const torchclip_cuda_model* model, torchclip_cuda_model_info* info) {
  info->has_images = model->images;
  info->has_texts = model->texts;
  const std::string name = model->precision + " (a fake)";
  std::copy_n(name.c_str(), name.size() + 1, info->name);
}

void model_memory(const torchclip_cuda_model* model, uint64_t* weights, uint64_t* workspace) {
  *weights = 4 * model->norm.size();
  *workspace = 5;
}

void model_counts(const torchclip_cuda_model*, torchclip_cuda_counts* counts) {
  *counts = {};
  counts->graphs = 6;
  counts->refused_graphs = 7;
  std::fill(std::begin(counts->graph_problem), std::end(counts->graph_problem), 'x');  // without a NUL
}

// Element d of a row is its first byte times the norm's weight d; the first one of a pooled feature, which is all that
// is written of it, the byte's negative. Rows to be normalised are 1 larger.
int32_t encode_pixels(torchclip_cuda_model* model, const uint8_t* pixels, int64_t rows,
                      const torchclip_encode_options* options, float* out, torchclip_backend_error* error) {
  return guarded(error, [&] {
    if (options->cancel && *options->cancel) throw std::bad_alloc();
    const float added = options->normalize ? 1 : 0;
    if (options->output == TORCHCLIP_OUTPUT_POOLED) {
      out[0] = added - static_cast<float>(pixels[0]);
      return;
    }
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t d = 0; d < model->embed_dim; ++d) {
        const auto weight = model->norm.at(static_cast<std::size_t>(d) % model->norm.size());
        out[r * model->embed_dim + d] = added + weight * static_cast<float>(pixels[r * model->image_bytes]);
      }
    }
  });
}

// Every element of a row is width + height / 2^10, of a pooled feature its negative; 1 is added to rows to be
// normalised; files fail.
int32_t encode_images(torchclip_cuda_model* model, const torchclip_image* images, int64_t rows,
                      const torchclip_encode_options* options, float* out, uint8_t* failed,
                      torchclip_backend_error* error) {
  return guarded(error, [&] {
    for (int64_t r = 0; r < rows; ++r) {
      if (images[r].file_bytes > 0) failed[r] = 1;
      const auto value = static_cast<float>(images[r].width) + static_cast<float>(images[r].height) / 1024;
      const bool pools = options->output == TORCHCLIP_OUTPUT_POOLED;
      std::fill_n(out + r * model->embed_dim, model->embed_dim,
                  (pools ? -value : value) + (options->normalize ? 1 : 0));
    }
  });
}

// Every element of a row is the number of its ones, negative if the row is to be normalised.
int32_t encode_tokens(torchclip_cuda_model* model, const int32_t* ids, int64_t rows, int64_t length,
                      const torchclip_encode_options* options, float* out, torchclip_backend_error* error) {
  return guarded(error, [&] {
    if (length > model->context_length) throw std::out_of_range("a text of " + std::to_string(length) + " tokens");
    std::map<int64_t, int64_t> ones;
    for (int64_t i = 0; i < rows * length; ++i) ones[i / length] += ids[i] == 1;
    for (int64_t r = 0; r < rows; ++r) {
      const auto value = static_cast<float>(options->normalize ? -ones[r] : ones[r]);
      std::fill_n(out + r * model->embed_dim, model->embed_dim, value);
    }
  });
}

void free_cache() {}

int32_t similarity(int32_t device, const float*, int64_t, const float*, int64_t, int32_t, float*,
                   torchclip_backend_error* error) {
  return guarded(error, [&] { throw std::runtime_error("no device " + std::to_string(device)); });
}

int32_t top_k(int32_t device, const float*, int64_t, const float*, int64_t, int32_t, int32_t, int32_t*, float*,
              torchclip_backend_error* error) {
  return guarded(error, [&] { throw std::runtime_error("no device " + std::to_string(device)); });
}

// No call of this backend returns before its results are there.
int32_t finish_call(torchclip_cuda_model*, uint64_t call, torchclip_backend_error* error) {
  return guarded(error, [&] { throw std::out_of_range("call " + std::to_string(call)); });
}

int32_t make_rows(int32_t device, int64_t, torchclip_cuda_rows**, torchclip_backend_error* error) {
  return guarded(error, [&] { throw std::runtime_error("no device " + std::to_string(device)); });
}

const torchclip_cuda_table kTable{
    {sizeof(torchclip_cuda_table), TORCHCLIP_TABLE_VERSION, FAKE_RELEASE},
    make_model,
    destroy_model,
    model_info,
    model_memory,
    encode_pixels,
    encode_images,
    encode_tokens,
    free_cache,
    similarity,
    top_k,
    model_counts,
    finish_call,
    make_rows,
    nullptr,  // it makes no rows
    nullptr,
    nullptr,
    nullptr,
};

}  // namespace

extern "C" TORCHCLIP_API const torchclip_cuda_table* torchclip_cuda(void) { return &kTable; }
