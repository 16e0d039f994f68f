/* A libtorch backend in plain C, which computes simple things instead of a model (native/test/backend_test.cpp states
 * what it expects of them). Compile definitions make the variants that the core has to refuse. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/torch_table.h"

#ifndef FAKE_SIZE_LESS
#define FAKE_SIZE_LESS 0
#endif
#ifndef FAKE_VERSION
#define FAKE_VERSION TORCHCLIP_TABLE_VERSION
#endif
#ifndef FAKE_ENTRY
#define FAKE_ENTRY torchclip_torch
#endif
#ifdef FAKE_RELEASE_INSTEAD
#undef FAKE_RELEASE
#define FAKE_RELEASE FAKE_RELEASE_INSTEAD
#endif

/* Numbers of threads that ask for a failure. */
enum { THREADS_REFUSED = 77, THREADS_UNKNOWN_TENSOR = 78, THREADS_UNKNOWN_STATUS = 79 };

struct torchclip_torch_runner {
  float pixels[256]; /* of the first channel */
  int64_t image_bytes, embed_dim, pooled_dim;
  uint64_t bytes;
};

struct torchclip_torch_rows {
  float* values;
  int64_t count;
  int32_t dim;
};

static int32_t fail(torchclip_backend_error* error, int32_t status, const char* message) {
  error->status = status;
  snprintf(error->message, sizeof error->message, "%s", message);
  return status;
}

static int32_t cuda_device_count(int32_t* count, torchclip_backend_error* error) {
  (void)error;
  *count = 0;
  return TORCHCLIP_OK;
}

/* Reads all tensors; *sum becomes the sum of their bytes as numbers. */
static int32_t read_program(const torchclip_torch_model* model, const torchclip_program* program, uint64_t* sum,
                            torchclip_backend_error* error) {
  for (uint64_t i = 0; i < program->tensor_count; ++i) {
    const torchclip_tensor* tensor = &program->tensors[i];
    uint64_t expected = tensor->type == TORCHCLIP_STORED_F32 ? 4 : 2;
    for (uint32_t axis = 0; axis < tensor->axes; ++axis) expected *= (uint64_t)tensor->shape[axis];
    if (expected != tensor->bytes) return fail(error, TORCHCLIP_E_INTERNAL, tensor->name);
    unsigned char* values = malloc((size_t)tensor->bytes);
    if (!values) return fail(error, TORCHCLIP_E_OUT_OF_MEMORY, "no memory for a tensor");
    const int32_t status = model->read_tensor(model->context, tensor->name, tensor->bytes, values, error);
    for (uint64_t b = 0; status == TORCHCLIP_OK && b < tensor->bytes; ++b) *sum += values[b];
    free(values);
    if (status != TORCHCLIP_OK) return status;
  }
  return TORCHCLIP_OK;
}

static int32_t refuse(const torchclip_torch_model* model, const torchclip_torch_options* options,
                      torchclip_backend_error* error) {
  char none[4];
  switch (options->threads) {
    case THREADS_REFUSED:
      return fail(error, TORCHCLIP_E_MODEL_UNSAFE, "77 threads are refused: \xE2\x9C\x93");
    case THREADS_UNKNOWN_TENSOR:
      return model->read_tensor(model->context, "no.such.tensor", sizeof none, none, error);
    case THREADS_UNKNOWN_STATUS:
      memset(error->message, 'x', sizeof error->message); /* and no NUL */
      return 12345;
    default:
      return TORCHCLIP_OK;
  }
}

static int32_t make_runner(const torchclip_torch_model* model, const torchclip_torch_options* options,
                           torchclip_torch_runner** runner, torchclip_backend_error* error) {
  if (model->size < sizeof *model || options->size < sizeof *options) {
    return fail(error, TORCHCLIP_E_INTERNAL, "a struct of the core is too small");
  }
  int32_t status = refuse(model, options, error);
  uint64_t sum = 0;
  if (status == TORCHCLIP_OK) status = read_program(model, &model->visual, &sum, error);
  if (status == TORCHCLIP_OK) status = read_program(model, &model->text, &sum, error);
  if (status != TORCHCLIP_OK) return status;
  torchclip_torch_runner* made = malloc(sizeof *made);
  if (!made) return fail(error, TORCHCLIP_E_OUT_OF_MEMORY, "no memory for a runner");
  memcpy(made->pixels, model->pixels, sizeof made->pixels);
  made->image_bytes = 3 * model->image_size * model->image_size;
  made->embed_dim = model->embed_dim;
  made->pooled_dim = model->pooled_dim;
  made->bytes = sum;
  *runner = made;
  return TORCHCLIP_OK;
}

static void destroy_runner(torchclip_torch_runner* runner) { free(runner); }

static void runner_info(const torchclip_torch_runner* runner, torchclip_torch_runner_info* info) {
  info->bytes = runner->bytes;
  info->logit_scale = 2.5f;
}

/* Element d of a row is what the first byte of the image becomes, plus d; of a pooled feature less d. */
static int32_t encode_pixels(torchclip_torch_runner* runner, const uint8_t* pixels, int64_t rows,
                             const torchclip_encode_options* options, float* out, torchclip_backend_error* error) {
  if (options->cancel && *options->cancel) return fail(error, TORCHCLIP_E_ABORTED, "aborted");
  const int pools = options->output == TORCHCLIP_OUTPUT_POOLED;
  const int64_t dim = pools ? runner->pooled_dim : runner->embed_dim;
  for (int64_t r = 0; r < rows; ++r) {
    const float first = runner->pixels[pixels[r * runner->image_bytes]];
    for (int64_t d = 0; d < dim; ++d) out[r * dim + d] = pools ? first - (float)d : first + (float)d;
  }
  return TORCHCLIP_OK;
}

/* Element d of a row is its id d, from the first again after the last. */
static int32_t encode_tokens(torchclip_torch_runner* runner, const int32_t* ids, int64_t rows, int64_t length,
                             const torchclip_encode_options* options, float* out, torchclip_backend_error* error) {
  if (options->cancel && *options->cancel) return fail(error, TORCHCLIP_E_ABORTED, "aborted");
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t d = 0; d < runner->embed_dim; ++d) {
      out[r * runner->embed_dim + d] = (float)ids[r * length + d % length];
    }
  }
  return TORCHCLIP_OK;
}

static int32_t make_rows(int32_t cuda_device, const float* values, int64_t count, int32_t dim,
                         torchclip_torch_rows** rows, torchclip_backend_error* error) {
  if (cuda_device != 3) return fail(error, TORCHCLIP_E_CUDA_UNAVAILABLE, "there is device 3 alone");
  const size_t bytes = (size_t)count * (size_t)dim * sizeof(float);
  torchclip_torch_rows* made = malloc(sizeof *made);
  float* copy = malloc(bytes);
  if (!made || !copy) return fail(error, TORCHCLIP_E_OUT_OF_MEMORY, "no memory for rows");
  memcpy(copy, values, bytes);
  made->values = copy;
  made->count = count;
  made->dim = dim;
  *rows = made;
  return TORCHCLIP_OK;
}

static void destroy_rows(torchclip_torch_rows* rows) {
  free(rows->values);
  free(rows);
}

static int32_t inner_products(const torchclip_torch_rows* rows, const float* queries, int64_t count, float* out,
                              torchclip_backend_error* error) {
  (void)error;
  for (int64_t q = 0; q < count; ++q) {
    for (int64_t r = 0; r < rows->count; ++r) {
      float sum = 0;
      for (int32_t d = 0; d < rows->dim; ++d) sum += queries[q * rows->dim + d] * rows->values[r * rows->dim + d];
      out[q * rows->count + r] = sum;
    }
  }
  return TORCHCLIP_OK;
}

/* Always a failure, whose message says what was passed. */
static int32_t verify_code(const torchclip_torch_code* code, torchclip_backend_error* error) {
  error->status = TORCHCLIP_E_MODEL_UNSAFE;
  const torchclip_program* program = &code->program;
  snprintf(error->message, sizeof error->message,
           "%llu modules, the last \"%s\"; %llu tensors; code of %llu bytes: %.5s",
           (unsigned long long)program->module_count, program->modules[program->module_count - 1].path,
           (unsigned long long)program->tensor_count, (unsigned long long)code->written_bytes, code->written);
  return TORCHCLIP_E_MODEL_UNSAFE;
}

/* An image size that asks for a byte behind the end of the file. */
enum { SIZE_READ_TOO_FAR = 1 };

/* *dim becomes the sum of the file's bytes and of the two lengths. */
static int32_t probe_export(const torchclip_file* file, int64_t image_size, int64_t context_length, int64_t* dim,
                            torchclip_backend_error* error) {
  int64_t sum = image_size + context_length;
  for (uint64_t at = 0; at < file->bytes; ++at) {
    unsigned char byte = 0;
    const int32_t status = file->read(file->context, at, 1, &byte, error);
    if (status != TORCHCLIP_OK) return status;
    sum += byte;
  }
  *dim = sum;
  unsigned char beyond[2];
  return image_size == SIZE_READ_TOO_FAR ? file->read(file->context, file->bytes - 1, 2, beyond, error) : TORCHCLIP_OK;
}

/* The output holds the lengths of the texts and the attributes. */
static int32_t wrap_export(const torchclip_torch_wrapping* wrapping, torchclip_backend_error* error) {
  FILE* out = fopen(wrapping->output, "w");
  if (!out) return fail(error, TORCHCLIP_E_WRITE, wrapping->output);
  fprintf(out, "%llu %llu", (unsigned long long)wrapping->config_bytes, (unsigned long long)wrapping->tokenizer_bytes);
  for (uint64_t i = 0; i < wrapping->attribute_count; ++i) {
    const torchclip_attribute* attribute = &wrapping->attributes[i];
    fprintf(out, " %s=", attribute->name);
    if (attribute->whole) {
      fprintf(out, "%lld", (long long)*attribute->whole);
    } else {
      for (uint64_t n = 0; n < attribute->count; ++n) fprintf(out, "%s%g", n ? "," : "", attribute->numbers[n]);
    }
  }
  fclose(out);
  return TORCHCLIP_OK;
}

static const torchclip_torch_table table = {
    {sizeof(torchclip_torch_table) - FAKE_SIZE_LESS, FAKE_VERSION, FAKE_RELEASE},
    "9.9.9",
    "FAKE",
    cuda_device_count,
    make_runner,
    destroy_runner,
    runner_info,
    encode_pixels,
    encode_tokens,
    make_rows,
    destroy_rows,
    inner_products,
    verify_code,
    probe_export,
    wrap_export,
    NULL, /* it trains nothing */
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
};

TORCHCLIP_API const torchclip_torch_table* FAKE_ENTRY(void);

const torchclip_torch_table* FAKE_ENTRY(void) {
#ifdef FAKE_NO_TABLE
  (void)table;
  return NULL;
#else
  return &table;
#endif
}
