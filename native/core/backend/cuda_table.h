/* What libtorchclip_cuda gives the core: models and searches on a GPU by torchclip's own kernels. backend.h states the
 * rules of the boundary. */
#ifndef TORCHCLIP_CUDA_TABLE_H
#define TORCHCLIP_CUDA_TABLE_H

#include "backend/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A tensor as float32, in memory of the core. */
typedef struct torchclip_floats {
  const float* values;  /* row-major; NULL: the model has no tensor of that name */
  const int64_t* shape; /* [axes] */
  uint32_t axes;
  void* owner; /* for release_tensor */
} torchclip_floats;

/* The transform of an image up to uint8; the numbers are those of core::Transform (core/image/preprocess.h). */
typedef struct torchclip_transform {
  int32_t size;    /* side of the square output, pixels */
  int32_t resize;  /* 0 shorter side and crop, 1 squash and crop, 2 longer side and fill */
  int32_t resized; /* side that it is resized to before the crop, pixels; 0: size */
  int32_t crop;    /* rounding of the crop's origin: 0 half to even, 1 down */
  int32_t filter;  /* 0 bicubic, 1 bilinear, 2 box, 3 hamming, 4 lanczos */
  int32_t fill;    /* grey level of the rest, 0 to 255 */
} torchclip_transform;

typedef struct torchclip_cuda_source {
  uint32_t size;
  int32_t device;        /* CUDA device N */
  const char* precision; /* "fp32", "fp16", "bf16" or "fp8" */
  const char* config;    /* torchclip.json */
  uint64_t config_bytes;
  int64_t embed_dim;      /* floats of one embedding */
  int64_t context_length; /* token ids of one text */
  torchclip_transform transform;
  const float* pixels;   /* float [3, 256]: what each byte of each channel becomes, (v / 255 - mean) / std */
  int32_t deterministic; /* nonzero: one row at a time, for any batch */
  int32_t images, texts; /* nonzero: that tower is loaded, if the kernels know it */
  void* context;         /* for the functions below */
  /* Gives a tensor by its dotted path. A tensor with values is released once; several may be held at a time. */
  int32_t (*take_tensor)(void* context, const char* name, torchclip_floats* tensor, torchclip_backend_error* error);
  void (*release_tensor)(void* context, void* owner);
} torchclip_cuda_source;

typedef struct torchclip_cuda_model torchclip_cuda_model;

typedef struct torchclip_cuda_model_info {
  int32_t has_images; /* whether it runs the image tower */
  int32_t has_texts;  /* whether it runs the text tower */
  char name[256];     /* "bf16 (NVIDIA H100, cuBLASLt, flash attention)" */
} torchclip_cuda_model_info;

/* What a model's device did since the model was loaded. */
typedef struct torchclip_cuda_counts {
  uint64_t graphs;         /* passes that were captured as CUDA graphs */
  uint64_t replays;        /* runs of such passes */
  uint64_t refused_graphs; /* captures that failed; their passes run uncaptured, with the same results */
  uint64_t timed_gemms;    /* shapes of matrix multiplications whose algorithm was chosen by timing */
  uint64_t reserved;       /* memory that the process holds on the device, cached memory included, bytes */
  char graph_problem[256]; /* why the last refused capture was refused; "": none was */
} torchclip_cuda_counts;

/* A decoded image, or a JPEG file. */
typedef struct torchclip_image {
  const uint8_t* data;             /* uint8 [height, width, channels], or the bytes of the file */
  int32_t width, height, channels; /* 0 for a file */
  uint64_t file_bytes;             /* 0 for a decoded image */
} torchclip_image;

typedef struct torchclip_cuda_rows torchclip_cuda_rows; /* rows in the memory of a GPU, for many searches */

typedef struct torchclip_cuda_query {
  uint32_t size;
  int32_t k;              /* in 1 to 1,024, and at most the number of rows */
  const float* values;    /* float [count, dim] */
  int64_t count;          /* at least 1 */
  const uint8_t* allowed; /* one bit a row, lowest bit of each byte first: rows without a bit are never found; NULL:
                             every row may be */
  int64_t allowed_rows;   /* bits of `allowed`; rows beyond it are never found */
} torchclip_cuda_query;

typedef struct torchclip_cuda_rows_counts {
  uint64_t bytes;       /* memory of the GPU that the rows occupy */
  uint64_t prefiltered; /* queries that the int8 copy of the rows and some candidates answered */
  uint64_t scanned;     /* queries for which all rows were scored */
} torchclip_cuda_rows_counts;

typedef struct torchclip_cuda_table {
  torchclip_table_header header;

  /* Loads the towers that are asked for and that the kernels know. Called on the thread that will run the model.
   * TORCHCLIP_E_PRECISION: the device or the model does not compute in fp8. */
  int32_t (*make_model)(const torchclip_cuda_source* source, torchclip_cuda_model** model,
                        torchclip_backend_error* error);
  void (*destroy_model)(torchclip_cuda_model* model);
  void (*model_info)(const torchclip_cuda_model* model, torchclip_cuda_model_info* info);
  /* The current size of the weights and of the workspace, bytes. */
  void (*model_memory)(const torchclip_cuda_model* model, uint64_t* weights, uint64_t* workspace);
  /* pixels: uint8 [rows, size, size, 3]; out: float [rows, embed_dim], or [rows, width of the image tower] for the
   * pooled feature; normalised if the options say so. */
  int32_t (*encode_pixels)(torchclip_cuda_model* model, const uint8_t* pixels, int64_t rows,
                           const torchclip_encode_options* options, float* out, torchclip_backend_error* error);
  /* Images of any size, resized and cropped on the device, and JPEG files, decoded there. failed: uint8 [rows], zeros;
   * becomes 1 for a file that the decoder does not accept or fails at, whose row of `out` is undefined. NULL if there
   * is no file. */
  int32_t (*encode_images)(torchclip_cuda_model* model, const torchclip_image* images, int64_t rows,
                           const torchclip_encode_options* options, float* out, uint8_t* failed,
                           torchclip_backend_error* error);
  /* ids: int32 [rows, length]; out: float [rows, embed_dim], normalised if the options say so. */
  int32_t (*encode_tokens)(torchclip_cuda_model* model, const int32_t* ids, int64_t rows, int64_t length,
                           const torchclip_encode_options* options, float* out, torchclip_backend_error* error);

  /* Returns the cached memory of all devices to the driver. */
  void (*free_cache)(void);

  /* As torchclip_similarity and torchclip_top_k (torchclip.h), on CUDA device `device`; k <= 1,024. Called by any
   * thread. */
  int32_t (*similarity)(int32_t device, const float* a, int64_t a_rows, const float* b, int64_t b_rows, int32_t dim,
                        float* out, torchclip_backend_error* error);
  int32_t (*top_k)(int32_t device, const float* queries, int64_t query_rows, const float* base, int64_t base_rows,
                   int32_t dim, int32_t k, int32_t* indices, float* scores, torchclip_backend_error* error);

  void (*model_counts)(const torchclip_cuda_model* model, torchclip_cuda_counts* counts);

  /* Waits for the results of a call that returned before they were there (torchclip_encode_options), and returns what
   * went wrong on the way. Once for each such call, in the order of the calls. */
  int32_t (*finish_call)(torchclip_cuda_model* model, uint64_t call, torchclip_backend_error* error);

  /* Makes an empty array of rows of `dim` floats, 1 to 65,536, on CUDA device `device`. The functions of one array are
   * called by any thread, one at a time. */
  int32_t (*make_rows)(int32_t device, int64_t dim, torchclip_cuda_rows** rows, torchclip_backend_error* error);
  void (*destroy_rows)(torchclip_cuda_rows* rows);
  /* Appends float [count, dim], all or none. TORCHCLIP_E_OUT_OF_MEMORY: the GPU has no room for them. */
  int32_t (*add_rows)(torchclip_cuda_rows* rows, const float* values, int64_t count, torchclip_backend_error* error);
  /* Finds the k rows of the largest inner products with each query: int32 and float [count, k], best first, equal
   * scores by row number. A score is the sum of the products in float64, rounded to float32. NaN is no hit: after the
   * last hit the index is -1 and the score NaN. */
  int32_t (*search_rows)(torchclip_cuda_rows* rows, const torchclip_cuda_query* query, int32_t* indices, float* scores,
                         torchclip_backend_error* error);
  void (*rows_counts)(const torchclip_cuda_rows* rows, torchclip_cuda_rows_counts* counts);
} torchclip_cuda_table;

/* The function that the library exports, and its name. */
typedef const torchclip_cuda_table* (*torchclip_cuda_entry)(void);
#define TORCHCLIP_CUDA_ENTRY "torchclip_cuda"

#ifdef __cplusplus
}
#endif
#endif
