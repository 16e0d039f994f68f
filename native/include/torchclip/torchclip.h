/*
 * The C ABI of torchclip: CLIP image and text embeddings in any native service.
 *
 * Every function is thread-safe. Functions that can fail return a torchclip_status (0 is success) and describe the
 * failure in `error` if it is not NULL. No function prints, aborts or throws.
 * Embeddings are row-major float32, [rows, embedding dimension].
 *
 * Models with a tower that torchclip has no kernels for, third-party exports and GPUs need libtorch and a further
 * library of torchclip, which are opened when they are first needed. The library is looked for in the folder that the
 * environment variable TORCHCLIP_BACKENDS names and beside this one; TORCHCLIP_LIBTORCH names the folder of libtorch.
 * What is missing is TORCHCLIP_E_ADDON, with what needs it.
 *
 * Each function checks pointers for NULL, every number against its documented range, and that the resulting sizes
 * (rows * dim * 4 and similar) can be addressed. TORCHCLIP_E_ARGUMENT names the wrong argument. The caller must ensure
 * that each pointer refers to memory of the documented size, that this memory is not changed or freed before the call
 * returns, and that an engine is not used after torchclip_close.
 */
#ifndef TORCHCLIP_H
#define TORCHCLIP_H

#include <stdint.h>

#if defined(_WIN32)
#define TORCHCLIP_API __declspec(dllexport)
#else
#define TORCHCLIP_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Incremented when a struct or a signature below changes incompatibly. */
#define TORCHCLIP_ABI_VERSION 4

typedef enum torchclip_status {
  TORCHCLIP_OK = 0,
  TORCHCLIP_E_ARGUMENT = 1,        /* a value outside its documented range */
  TORCHCLIP_E_MODEL_NOT_FOUND = 2, /* no such file */
  TORCHCLIP_E_MODEL_CORRUPT = 3,   /* truncated, not an artifact, or a tensor does not fit */
  TORCHCLIP_E_MODEL_UNSAFE = 4,    /* the model runs its own code, and trust_code was not set */
  TORCHCLIP_E_CUDA_UNAVAILABLE = 5,
  TORCHCLIP_E_OUT_OF_MEMORY = 6,
  TORCHCLIP_E_ABORTED = 7,
  TORCHCLIP_E_BUSY = 8, /* the engine's queue is full */
  TORCHCLIP_E_CLOSED = 9,
  TORCHCLIP_E_WRITE = 10, /* a file could not be written */
  TORCHCLIP_E_INTERNAL = 11,
  TORCHCLIP_E_READ = 12,    /* an existing file cannot be read: permission, no free file handles, a failing disk */
  TORCHCLIP_E_TIMEOUT = 13, /* an operation did not finish within its time limit */
  TORCHCLIP_E_INDEX_NOT_FOUND = 14, /* no such index file; only from the addon, since the C ABI opens none */
  TORCHCLIP_E_INDEX_CORRUPT = 15,   /* not a float32 [rows, dim] .npy, or shortened while open; only from the addon */
  TORCHCLIP_E_ADDON = 16,    /* libtorch or a backend of torchclip (docs/how-it-works.md) is missing or does not load */
  TORCHCLIP_E_PRECISION = 17 /* the device or the model does not compute in this precision */
} torchclip_status;

typedef struct torchclip_error {
  torchclip_status status;
  char message[1024]; /* UTF-8, NUL-terminated, truncated between two characters if longer */
} torchclip_error;

typedef struct torchclip_options {
  const char* device;    /* "auto", "cpu", "cuda", "cuda:N", "cuda:all" (a copy on each GPU); NULL: "auto" */
  const char* precision; /* "fp32", "bf16", "fp16", "int8" (CPU), "fp8" (GPUs from compute capability 8.9 on),
                            "auto" (= fp32 here); NULL: "auto" */
  int32_t threads;       /* compute threads of this engine on a CPU, 0 to 1024; 0: one per core */
  int32_t trust_code;    /* nonzero: a third-party export may run its own code with the rights of this process */
  int32_t towers;        /* the towers to load: 0 both, 1 image, 2 text; calls that need the other: E_ARGUMENT */
} torchclip_options;

typedef struct torchclip_model_info {
  int32_t image_size;     /* side of the square input, pixels */
  int32_t context_length; /* token ids of one text, padding included */
  int32_t embed_dim;      /* floats of one embedding */
  int32_t vocab_size;     /* token ids are in [0, vocab_size) */
  int32_t pad_id;         /* fills a row of token ids after its end */
  float logit_scale;      /* exp of the learned scale: logits = logit_scale * cosine + logit_bias */
  float logit_bias;       /* 0 if the model has none */
  char device[16];        /* the device in use: "cpu", "cuda:0" ... */
  char precision[8];      /* the precision in use: "fp32" ... */
} torchclip_model_info;

typedef struct torchclip_engine torchclip_engine;

TORCHCLIP_API uint32_t torchclip_abi_version(void);
TORCHCLIP_API const char* torchclip_version(void);
/* Returns "E_ARGUMENT" ..., the same names as in JavaScript. Never NULL. */
TORCHCLIP_API const char* torchclip_status_name(torchclip_status status);

/* Loads an artifact (a .pt file written by `torchclip import` or by load() in JavaScript). Returns NULL on failure.
 * `options` may be NULL. The engine owns one thread that runs the model; close it with torchclip_close. */
TORCHCLIP_API torchclip_engine* torchclip_open(const char* path, const torchclip_options* options,
                                               torchclip_error* error);
/* Waits for the running batch, then frees everything. NULL is allowed. If the code of a third-party export has not
 * returned after 2 seconds, the engine and its thread are leaked. */
TORCHCLIP_API void torchclip_close(torchclip_engine* engine);

TORCHCLIP_API torchclip_status torchclip_info(const torchclip_engine* engine, torchclip_model_info* info,
                                              torchclip_error* error);

/* Writes one image into one slot of a batch, resized and cropped as the model requires (antialiased, bit-identical to
 * Pillow). `pixels`: uint8 [height, width, channels] without padding between rows, width and height 1 to 2^24, channels
 * 1 (grey), 3 (RGB) or 4 (RGBA, alpha ignored). `out`: uint8 [image_size, image_size, 3]. */
TORCHCLIP_API torchclip_status torchclip_preprocess(const torchclip_engine* engine, const uint8_t* pixels,
                                                    int32_t width, int32_t height, int32_t channels, uint8_t* out,
                                                    torchclip_error* error);

/* Encodes preprocessed images. `batch`: uint8 [rows, image_size, image_size, 3] from torchclip_preprocess, rows >= 1.
 * `out`: float [rows, embed_dim]. A nonzero `normalize` divides each row by its L2 norm. */
TORCHCLIP_API torchclip_status torchclip_encode_pixels(torchclip_engine* engine, const uint8_t* batch, int64_t rows,
                                                       float* out, int32_t normalize, torchclip_error* error);

/* The floats of one pooled image feature, which torchclip_encode_pooled writes; 0 for a third-party export, which gives
 * none. */
TORCHCLIP_API torchclip_status torchclip_pooled_dim(const torchclip_engine* engine, int32_t* pooled_dim,
                                                    torchclip_error* error);

/* Encodes preprocessed images to pooled features: what the image encoder projects to the embedding (for OpenAI's ViTs
 * the class token after the last layer norm, the `pooler_output` of transformers). Classifiers are trained on them.
 * `batch` and `rows` are as in torchclip_encode_pixels; `out`: float [rows, pooled_dim]. A nonzero `normalize` divides
 * each row by its L2 norm. Models without a projection give the embedding. Third-party exports: TORCHCLIP_E_ARGUMENT.
 */
TORCHCLIP_API torchclip_status torchclip_encode_pooled(torchclip_engine* engine, const uint8_t* batch, int64_t rows,
                                                       float* out, int32_t normalize, torchclip_error* error);

/* Encodes token ids. `ids`: int32 [rows, length], each row with start token, text, end token, then pad_id; rows >= 1,
 * length 1 to context_length. `out` and `normalize` are as in torchclip_encode_pixels. */
TORCHCLIP_API torchclip_status torchclip_encode_tokens(torchclip_engine* engine, const int32_t* ids, int64_t rows,
                                                       int32_t length, float* out, int32_t normalize,
                                                       torchclip_error* error);

/* Converts UTF-8 texts to the token ids of the model's reference, for models with CLIP's own tokenizer. Other models
 * are E_ARGUMENT; pass token ids to them. `ids`: int32 [rows, context_length], padded with pad_id. A nonzero `truncate`
 * shortens a text that is longer than the context, with the end token as its last id; otherwise such a text is an
 * E_ARGUMENT that names it. */
TORCHCLIP_API torchclip_status torchclip_tokenize(torchclip_engine* engine, const char* const* texts, int64_t rows,
                                                  int32_t truncate, int32_t* ids, torchclip_error* error);

/* Calls torchclip_tokenize, then torchclip_encode_tokens. `out`: float [rows, embed_dim]. */
TORCHCLIP_API torchclip_status torchclip_encode_texts(torchclip_engine* engine, const char* const* texts, int64_t rows,
                                                      int32_t truncate, float* out, int32_t normalize,
                                                      torchclip_error* error);

/* Computes the inner products of normalised rows (cosines). `out`: float [a_rows, b_rows]; all sizes >= 1. */
TORCHCLIP_API torchclip_status torchclip_similarity(const float* a, int64_t a_rows, const float* b, int64_t b_rows,
                                                    int32_t dim, float* out, torchclip_error* error);

/* Finds the k largest inner products of each query, largest first, equal scores by row number.
 * `indices` and `scores`: [query_rows, k]; 1 <= k <= base_rows, 1 <= dim <= 65536, base_rows < 2^31. NaN scores are not
 * hits: after the last hit the index is -1 and the score is NaN. */
TORCHCLIP_API torchclip_status torchclip_top_k(const float* queries, int64_t query_rows, const float* base,
                                               int64_t base_rows, int32_t dim, int32_t k, int32_t* indices,
                                               float* scores, torchclip_error* error);

#ifdef __cplusplus
}
#endif
#endif
