// The C ABI (torchclip.h) over core::Engine: arguments checked, exceptions transposed into statuses.
#include <algorithm>
#include <cstdint>
#include <future>
#include <initializer_list>
#include <mutex>

#include "base/copied_text.h"
#include "engine.h"
#include "image/preprocess.h"
#include "model/runner.h"
#include "search/npy.h"
#include "search/top_k.h"
#include "text/tokenizer.h"
#include "torchclip/torchclip.h"

struct torchclip_engine {
  torchclip::core::Engine engine;
  std::once_flag once;
  std::unique_ptr<torchclip::core::Tokenizer> tokenizer;  // made when it is first asked for
};

namespace {

using torchclip::core::copy_text;
using torchclip::core::Engine;
using torchclip::core::Error;
using torchclip::core::Failure;
using torchclip::core::ImageOutput;
using torchclip::core::kMostDim;
using torchclip::core::kMostRows;
using torchclip::core::kMostSide;
using torchclip::core::kMostThreads;
using torchclip::core::Runner;

torchclip_status report(const Failure& failure, torchclip_error* error) {
  if (error) {
    error->status = failure.status;
    copy_text(error->message, sizeof error->message, failure.message);
  }
  return failure.status;
}

void require(bool condition, const char* what) {
  if (!condition) throw Error(TORCHCLIP_E_ARGUMENT, what);
}

// Sizes that are at least 1 and whose product, of elements of `bytes` bytes, can be addressed.
void require_sizes(std::initializer_list<std::int64_t> sizes, std::int64_t bytes, const char* names) {
  std::int64_t left = PTRDIFF_MAX / bytes;
  for (const std::int64_t size : sizes) {
    require(size >= 1, (std::string(names) + " must be at least 1").c_str());
    left /= size;
  }
  require(left >= 1, (std::string(names) + " together are more than can be addressed").c_str());
}

template <typename Work>
torchclip_status guarded(torchclip_error* error, Work&& work) {
  try {
    work();
    return report({}, error);
  } catch (...) {
    return report(torchclip::core::current_failure(), error);
  }
}

// Starts queued work and waits for its end; `start` is given the callback that ends it.
template <typename Start>
void wait(Start&& start) {
  std::promise<Failure> promise;
  start([&promise](const Failure& failure) { promise.set_value(failure); });
  const Failure failure = promise.get_future().get();
  if (failure.status != TORCHCLIP_OK) throw Error(failure.status, failure.message);
}

void tokenize(torchclip_engine& engine, const char* const* texts, std::int64_t rows, bool truncate, std::int32_t* ids) {
  const auto& info = engine.engine.info();
  require_sizes({rows, info.context_length}, sizeof(std::int32_t), "rows and context_length");
  std::call_once(engine.once, [&] {
    engine.tokenizer =
        std::make_unique<torchclip::core::Tokenizer>(info.extra.at("tokenizer.json"), info.extra.at("torchclip.json"));
  });
  std::fill_n(ids, rows * info.context_length, info.pad_id);
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto name = "text " + std::to_string(r);
    require(texts[r], (name + " is NULL").c_str());
    std::vector<std::int32_t> found;
    try {
      found = engine.tokenizer->encode(texts[r]);
    } catch (const Error& e) {
      throw Error(e.status(), name + ": " + e.what());
    }
    if (static_cast<std::int64_t>(found.size()) > info.context_length) {
      if (!truncate) {
        throw Error(TORCHCLIP_E_ARGUMENT, name + " has " + std::to_string(found.size()) +
                                              " tokens, more than the context of " +
                                              std::to_string(info.context_length));
      }
      found.resize(static_cast<std::size_t>(info.context_length));
      found.back() = engine.tokenizer->end_id();
    }
    std::copy(found.begin(), found.end(), ids + r * info.context_length);
  }
}

void encode_images(torchclip_engine* engine, const std::uint8_t* batch, std::int64_t rows, ImageOutput output,
                   float* out, bool normalize) {
  require(engine && batch && out, "engine, batch or out is NULL");
  const auto& info = engine->engine.info();
  const std::int64_t dim = info.dim_of(output);
  require_sizes({rows, info.image_size, info.image_size, 3}, 1, "rows and image_size");
  require_sizes({rows, dim}, sizeof(float),
                output == ImageOutput::pooled ? "rows and pooled_dim" : "rows and embed_dim");
  wait([&](Engine::Done done) {
    const auto begin = [&](Runner& runner, const Runner::Rest& begun) {
      return runner.begin_pixels(batch, rows, out, normalize, begun, nullptr, output);
    };
    engine->engine.run_ahead(begin, nullptr, std::move(done));
  });
}

// ids: [rows, length].
void encode_tokens(torchclip_engine* engine, const std::int32_t* ids, std::int64_t rows, std::int32_t length,
                   float* out, bool normalize) {
  wait([&](Engine::Done done) {
    const auto begin = [&](Runner& runner, const Runner::Rest& begun) {
      return runner.begin_tokens(ids, rows, length, out, normalize, begun);
    };
    engine->engine.run_ahead(begin, nullptr, std::move(done));
  });
}

}  // namespace

uint32_t torchclip_abi_version(void) { return TORCHCLIP_ABI_VERSION; }

const char* torchclip_version(void) { return TORCHCLIP_VERSION; }

const char* torchclip_status_name(torchclip_status status) {
  switch (status) {
    case TORCHCLIP_OK:
      return "OK";
    case TORCHCLIP_E_ARGUMENT:
      return "E_ARGUMENT";
    case TORCHCLIP_E_MODEL_NOT_FOUND:
      return "E_MODEL_NOT_FOUND";
    case TORCHCLIP_E_MODEL_CORRUPT:
      return "E_MODEL_CORRUPT";
    case TORCHCLIP_E_MODEL_UNSAFE:
      return "E_MODEL_UNSAFE";
    case TORCHCLIP_E_CUDA_UNAVAILABLE:
      return "E_CUDA_UNAVAILABLE";
    case TORCHCLIP_E_OUT_OF_MEMORY:
      return "E_OUT_OF_MEMORY";
    case TORCHCLIP_E_ABORTED:
      return "E_ABORTED";
    case TORCHCLIP_E_BUSY:
      return "E_BUSY";
    case TORCHCLIP_E_CLOSED:
      return "E_CLOSED";
    case TORCHCLIP_E_WRITE:
      return "E_WRITE";
    case TORCHCLIP_E_READ:
      return "E_READ";
    case TORCHCLIP_E_TIMEOUT:
      return "E_TIMEOUT";
    case TORCHCLIP_E_INDEX_NOT_FOUND:
      return "E_INDEX_NOT_FOUND";
    case TORCHCLIP_E_INDEX_CORRUPT:
      return "E_INDEX_CORRUPT";
    case TORCHCLIP_E_ADDON:
      return "E_ADDON";
    case TORCHCLIP_E_PRECISION:
      return "E_PRECISION";
    case TORCHCLIP_E_INTERNAL:
      break;
  }
  return "E_INTERNAL";
}

torchclip_engine* torchclip_open(const char* path, const torchclip_options* options, torchclip_error* error) {
  std::unique_ptr<torchclip_engine> engine;
  const auto status = guarded(error, [&] {
    require(path, "path is NULL");
    torchclip::core::RunnerOptions chosen;
    if (options && options->device) chosen.device = options->device;
    if (options && options->precision) chosen.precision = options->precision;
    if (options) chosen.threads = options->threads;
    if (options) chosen.trust_code = options->trust_code != 0;
    const auto towers = options ? options->towers : 0;
    require(towers >= 0 && towers <= 2, "towers must be 0 (both), 1 (image) or 2 (text)");
    chosen.towers = static_cast<torchclip::core::TowerChoice>(towers);
    require(chosen.threads >= 0 && chosen.threads <= kMostThreads, "threads must be in 0 to 1024");
    engine = std::make_unique<torchclip_engine>();
    wait([&](Engine::Done done) { engine->engine.load(path, chosen, std::move(done)); });
  });
  return status == TORCHCLIP_OK ? engine.release() : nullptr;
}

void torchclip_close(torchclip_engine* engine) {
  // Where the code of a third-party export does not return, its thread still uses the engine.
  if (engine && engine->engine.close()) delete engine;
}

torchclip_status torchclip_info(const torchclip_engine* engine, torchclip_model_info* info, torchclip_error* error) {
  return guarded(error, [&] {
    require(engine && info, "engine or info is NULL");
    const auto& from = engine->engine.info();
    info->image_size = from.image_size;
    info->context_length = from.context_length;
    info->embed_dim = from.embed_dim;
    info->vocab_size = from.vocab_size;
    info->logit_scale = from.logit_scale;
    info->logit_bias = from.logit_bias;
    info->pad_id = from.pad_id;
    copy_text(info->device, sizeof info->device, from.device);
    copy_text(info->precision, sizeof info->precision, from.precision);
  });
}

torchclip_status torchclip_preprocess(const torchclip_engine* engine, const uint8_t* pixels, int32_t width,
                                      int32_t height, int32_t channels, uint8_t* out, torchclip_error* error) {
  return guarded(error, [&] {
    require(engine && pixels && out, "engine, pixels or out is NULL");
    require(width >= 1 && width <= kMostSide && height >= 1 && height <= kMostSide,
            "width and height must be in 1 to 2^24");
    torchclip::core::preprocess({pixels, width, height, channels}, engine->engine.info().transform, out);
  });
}

torchclip_status torchclip_encode_pixels(torchclip_engine* engine, const uint8_t* batch, int64_t rows, float* out,
                                         int32_t normalize, torchclip_error* error) {
  return guarded(error, [&] { encode_images(engine, batch, rows, ImageOutput::embedding, out, normalize != 0); });
}

torchclip_status torchclip_pooled_dim(const torchclip_engine* engine, int32_t* pooled_dim, torchclip_error* error) {
  return guarded(error, [&] {
    require(engine && pooled_dim, "engine or pooled_dim is NULL");
    *pooled_dim = engine->engine.info().pooled_dim;
  });
}

torchclip_status torchclip_encode_pooled(torchclip_engine* engine, const uint8_t* batch, int64_t rows, float* out,
                                         int32_t normalize, torchclip_error* error) {
  return guarded(error, [&] { encode_images(engine, batch, rows, ImageOutput::pooled, out, normalize != 0); });
}

torchclip_status torchclip_encode_tokens(torchclip_engine* engine, const int32_t* ids, int64_t rows, int32_t length,
                                         float* out, int32_t normalize, torchclip_error* error) {
  return guarded(error, [&] {
    require(engine && ids && out, "engine, ids or out is NULL");
    require_sizes({rows, length}, sizeof(std::int32_t), "rows and length");
    require_sizes({rows, engine->engine.info().embed_dim}, sizeof(float), "rows and embed_dim");
    require(length > 0 && length <= engine->engine.info().context_length, "length must be in 1 to context_length");
    encode_tokens(engine, ids, rows, length, out, normalize != 0);
  });
}

torchclip_status torchclip_tokenize(torchclip_engine* engine, const char* const* texts, int64_t rows, int32_t truncate,
                                    int32_t* ids, torchclip_error* error) {
  return guarded(error, [&] {
    require(engine && texts && ids, "engine, texts or ids is NULL");
    tokenize(*engine, texts, rows, truncate != 0, ids);
  });
}

torchclip_status torchclip_encode_texts(torchclip_engine* engine, const char* const* texts, int64_t rows,
                                        int32_t truncate, float* out, int32_t normalize, torchclip_error* error) {
  return guarded(error, [&] {
    require(engine && texts && out, "engine, texts or out is NULL");
    const std::int32_t length = engine->engine.info().context_length;
    require_sizes({rows, length}, sizeof(std::int32_t), "rows and context_length");
    require_sizes({rows, engine->engine.info().embed_dim}, sizeof(float), "rows and embed_dim");
    std::vector<std::int32_t> ids(static_cast<std::size_t>(rows * length));
    tokenize(*engine, texts, rows, truncate != 0, ids.data());
    encode_tokens(engine, ids.data(), rows, length, out, normalize != 0);
  });
}

torchclip_status torchclip_similarity(const float* a, int64_t a_rows, const float* b, int64_t b_rows, int32_t dim,
                                      float* out, torchclip_error* error) {
  return guarded(error, [&] {
    require(a && b && out, "a, b or out is NULL");
    require_sizes({a_rows, dim}, sizeof(float), "a_rows and dim");
    require_sizes({b_rows, dim}, sizeof(float), "b_rows and dim");
    require_sizes({a_rows, b_rows}, sizeof(float), "a_rows and b_rows");
    torchclip::core::similarity(a, a_rows, b, b_rows, dim, "cpu", out);
  });
}

torchclip_status torchclip_top_k(const float* queries, int64_t query_rows, const float* base, int64_t base_rows,
                                 int32_t dim, int32_t k, int32_t* indices, float* scores, torchclip_error* error) {
  return guarded(error, [&] {
    require(queries && base && indices && scores, "queries, base, indices or scores is NULL");
    require_sizes({query_rows, dim}, sizeof(float), "query_rows and dim");
    require_sizes({base_rows, dim}, sizeof(float), "base_rows and dim");
    require(dim <= kMostDim, "dim must be in 1 to 65536");
    require(base_rows <= kMostRows, "base_rows must be in 1 to 2^31 - 1");
    require(k >= 1 && k <= base_rows, "k must be in 1 to base_rows");
    require_sizes({query_rows, k}, sizeof(float), "query_rows and k");
    torchclip::core::top_k(queries, query_rows, base, base_rows, dim, k, "cpu", indices, scores);
  });
}
