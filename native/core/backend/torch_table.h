/* What libtorchclip_torch gives the core: all that needs libtorch. backend.h states the rules of the boundary. */
#ifndef TORCHCLIP_TORCH_TABLE_H
#define TORCHCLIP_TORCH_TABLE_H

#include "backend/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How the values of a tensor are stored: little-endian, row-major, without gaps. */
enum { TORCHCLIP_STORED_F32 = 0, TORCHCLIP_STORED_F16 = 1, TORCHCLIP_STORED_BF16 = 2 };

typedef struct torchclip_tensor {
  const char* name;     /* dotted path: "visual.conv1.weight" */
  const int64_t* shape; /* [axes] */
  uint32_t axes;
  int32_t type;   /* TORCHCLIP_STORED_... */
  uint64_t bytes; /* of all values */
} torchclip_tensor;

typedef struct torchclip_module {
  const char* path;   /* dotted path; "" is the root */
  const char* source; /* its methods in TorchScript, generated from the settings */
} torchclip_module;

/* Modules with their tensors. Modules without a source exist where a path needs them. */
typedef struct torchclip_program {
  const torchclip_module* modules; /* children before the parents that call them */
  uint64_t module_count;
  const torchclip_tensor* tensors;
  uint64_t tensor_count;
} torchclip_program;

/* A model file, which the core holds open. */
typedef struct torchclip_file {
  const char* path; /* for messages */
  uint64_t bytes;   /* of the file */
  void* context;    /* for `read` */
  /* Reads exactly `bytes` bytes from `offset` on into `to`. */
  int32_t (*read)(void* context, uint64_t offset, uint64_t bytes, void* to, torchclip_backend_error* error);
} torchclip_file;

/* The model of a runner. */
typedef struct torchclip_torch_model {
  uint32_t size;
  int32_t third_party;      /* nonzero: the file runs with its own code, and there are no programs */
  torchclip_file file;      /* is read for a third-party export alone */
  torchclip_program visual; /* the image tower, which has a method `pooled` beside `forward`; without modules: it is
                               not needed */
  torchclip_program text;   /* the text tower; likewise */
  void* context;            /* for `read_tensor` */
  /* Reads the values of a tensor of the programs as they are stored. `bytes`: as the program states them. */
  int32_t (*read_tensor)(void* context, const char* name, uint64_t bytes, void* to, torchclip_backend_error* error);
  const float* pixels; /* float [3, 256]: what each byte of each channel becomes, (v / 255 - mean) / std */
  int64_t image_size;  /* side of the square input, pixels */
  int64_t embed_dim;   /* floats of one embedding */
  int64_t pooled_dim;  /* floats of one pooled feature; 0: the model gives none */
  int64_t pad_id;      /* fills a row of token ids after its end */
  int32_t trims;       /* nonzero: padding may be omitted */
} torchclip_torch_model;

typedef struct torchclip_torch_options {
  uint32_t size;
  int32_t cuda_device;   /* CUDA device N; -1: the CPU */
  const char* precision; /* "fp32", "bf16" or "fp16": the type of parameters and arithmetic */
  int32_t threads;       /* of libtorch on the CPU, at least 1 */
  int32_t deterministic; /* nonzero: one row at a time, each text at its own length */
  /* Releases the memory of GPUs that other libraries hold cached. Called when memory ran out, before the next try; it
   * stays valid while the runner exists. */
  void (*free_cuda_cache)(void);
} torchclip_torch_options;

typedef struct torchclip_torch_runner torchclip_torch_runner;

typedef struct torchclip_torch_runner_info {
  uint64_t bytes;    /* of parameters and buffers */
  float logit_scale; /* exp of the learned parameter of a third-party export; 0 for other models */
} torchclip_torch_runner_info;

typedef struct torchclip_torch_rows torchclip_torch_rows; /* rows in the memory of a GPU */

/* The code of an artifact and what it is compared with. */
typedef struct torchclip_torch_code {
  uint32_t size;
  torchclip_file file;
  torchclip_program program; /* of the whole model, without types and bytes of the tensors */
  const char* written;       /* the text of code/__torch__/torchclip.py that the core writes for this program */
  uint64_t written_bytes;
  uint64_t operator_version; /* that text calls the operators of this version */
} torchclip_torch_code;

/* An attribute of the root module: one whole number, or a list of numbers. */
typedef struct torchclip_attribute {
  const char* name;
  const int64_t* whole;  /* NULL: it is a list */
  const double* numbers; /* [count] */
  uint64_t count;
} torchclip_attribute;

/* A third-party export that becomes an artifact. */
typedef struct torchclip_torch_wrapping {
  uint32_t size;
  torchclip_file file;
  const char* output; /* path of the file to write */
  const char* config; /* torchclip.json */
  uint64_t config_bytes;
  const char* tokenizer; /* tokenizer.json */
  uint64_t tokenizer_bytes;
  const torchclip_attribute* attributes;
  uint64_t attribute_count;
} torchclip_torch_wrapping;

/* How the tensors of a model are trained. Master weights, gradients and moments are float32. */
typedef struct torchclip_torch_training {
  uint32_t size;
  int32_t cuda_device;        /* CUDA device N; -1: the CPU */
  int32_t threads;            /* of libtorch on the CPU, at least 1 */
  int32_t bf16;               /* nonzero: forward passes run under autocast to bf16; on a CUDA device alone */
  const char* const* trained; /* the tensors that get gradients, of both programs, "logit_scale" and "logit_bias" */
  uint64_t trained_count;
  float logit_scale;   /* the stored parameter, the logarithm of what cosines are multiplied by */
  float logit_bias;    /* is added to the products; 0: none */
  int32_t sigmoid;     /* nonzero: images and texts are compared by SigLIP's sigmoid loss, else by softmax */
  int32_t optimizer;   /* TORCHCLIP_OPTIMIZER_... */
  double beta1, beta2; /* of Adam and AdamW */
  double epsilon;      /* of Adam and AdamW */
  double momentum;     /* of SGD; 0: none */
  double weight_decay; /* 0: none */
  double largest_norm; /* a longer gradient is shortened to it; 0: none is */
  uint64_t seed;       /* of dropout; a step of a number draws the same whichever steps ran before it */
} torchclip_torch_training;

/* AdamW decays weights apart from the gradient; Adam and SGD add the decay to the gradient. */
enum { TORCHCLIP_OPTIMIZER_ADAMW = 0, TORCHCLIP_OPTIMIZER_ADAM = 1, TORCHCLIP_OPTIMIZER_SGD = 2 };

/* Images with what they are compared with: class embeddings that stay (class_embeddings), the texts of classes, or one
 * text for each image. */
typedef struct torchclip_training_batch {
  uint32_t size;
  const uint8_t* pixels;         /* uint8 [rows, image_size, image_size, 3] */
  int64_t rows;                  /* at least 1 */
  const int32_t* labels;         /* [rows], in 0 to classes - 1; NULL: text i belongs to image i */
  int64_t classes;               /* rows of what follows; without labels equal to `rows` */
  const float* class_embeddings; /* [classes, embed_dim], of length 1; NULL: texts are encoded */
  const int32_t* tokens;         /* [classes, length] */
  int64_t length;
  double weight; /* the loss is multiplied by it before its gradient is added; 1 / n for one of n equal parts */
} torchclip_training_batch;

typedef struct torchclip_training_result {
  double loss;     /* mean over the rows, not multiplied by `weight` */
  int64_t correct; /* rows whose largest logit is that of their class, or of their text */
} torchclip_training_result;

typedef struct torchclip_torch_trainer torchclip_torch_trainer;

/* What a trained tensor has: its values, and what the optimizer keeps: the first moment (Adam, AdamW) or the momentum
 * (SGD), and the second moment (Adam, AdamW). */
enum { TORCHCLIP_TRAINED_VALUES = 0, TORCHCLIP_TRAINED_FIRST = 1, TORCHCLIP_TRAINED_SECOND = 2 };

typedef struct torchclip_torch_table {
  torchclip_table_header header;
  const char* libtorch_version; /* "2.13.0" */
  const char* cpu_capability;   /* the kernels that libtorch chose: "AVX2", "AVX512", "DEFAULT" ... */

  /* The number of CUDA devices that libtorch can use. libtorch remembers its first answer, so the core opens libtorch's
   * CUDA library before it asks. */
  int32_t (*cuda_device_count)(int32_t* count, torchclip_backend_error* error);

  /* Compiles the programs, or loads a third-party export with its own code. Called on the thread that will run the
   * model. TORCHCLIP_E_MODEL_CORRUPT: the file does not fit. */
  int32_t (*make_runner)(const torchclip_torch_model* model, const torchclip_torch_options* options,
                         torchclip_torch_runner** runner, torchclip_backend_error* error);
  void (*destroy_runner)(torchclip_torch_runner* runner);
  void (*runner_info)(const torchclip_torch_runner* runner, torchclip_torch_runner_info* info);
  /* pixels: uint8 [rows, image_size, image_size, 3]; out: float [rows, embed_dim or pooled_dim], by options->output,
   * not normalised. When memory runs out, the rows are halved and tried again. */
  int32_t (*encode_pixels)(torchclip_torch_runner* runner, const uint8_t* pixels, int64_t rows,
                           const torchclip_encode_options* options, float* out, torchclip_backend_error* error);
  /* ids: int32 [rows, length]; out: float [rows, embed_dim], not normalised. */
  int32_t (*encode_tokens)(torchclip_torch_runner* runner, const int32_t* ids, int64_t rows, int64_t length,
                           const torchclip_encode_options* options, float* out, torchclip_backend_error* error);

  /* Copies float [count, dim] to CUDA device `cuda_device`. */
  int32_t (*make_rows)(int32_t cuda_device, const float* values, int64_t count, int32_t dim,
                       torchclip_torch_rows** rows, torchclip_backend_error* error);
  void (*destroy_rows)(torchclip_torch_rows* rows);
  /* out[i, j] = queries[i] . row[j]; queries: float [count, dim], out: float [count, rows]. */
  int32_t (*inner_products)(const torchclip_torch_rows* rows, const float* queries, int64_t count, float* out,
                            torchclip_backend_error* error);

  /* Compares the code of an artifact with the generated code; nothing of it runs. TORCHCLIP_E_MODEL_UNSAFE with the
   * first method that differs. */
  int32_t (*verify_code)(const torchclip_torch_code* code, torchclip_backend_error* error);
  /* Runs both methods of a third-party export on zeros; *dim becomes the width of its embeddings. */
  int32_t (*probe_export)(const torchclip_file* file, int64_t image_size, int64_t context_length, int64_t* dim,
                          torchclip_backend_error* error);
  /* Writes a third-party export with the attributes and the files of an artifact; its code is unchanged. */
  int32_t (*wrap_export)(const torchclip_torch_wrapping* wrapping, torchclip_backend_error* error);

  /* Compiles the programs of a model, which is no third-party export, for training. Called on the thread that will run
   * the other functions of the trainer. `read_tensor` of the model fills tensors of adapters, too. */
  int32_t (*make_trainer)(const torchclip_torch_model* model, const torchclip_torch_training* training,
                          torchclip_torch_trainer** trainer, torchclip_backend_error* error);
  void (*destroy_trainer)(torchclip_torch_trainer* trainer);
  /* Adds the gradient of the loss of a batch to that of the step. */
  int32_t (*train_batch)(torchclip_torch_trainer* trainer, const torchclip_training_batch* batch,
                         const torchclip_encode_options* options, torchclip_training_result* result,
                         torchclip_backend_error* error);
  /* Ends a step: changes the trained tensors and clears the gradient. *norm becomes its length before it was
   * shortened. */
  int32_t (*update_trained)(torchclip_torch_trainer* trainer, double learning_rate, double* norm,
                            torchclip_backend_error* error);
  /* Forgets the gradients that were added since the last step. */
  void (*discard_gradients)(torchclip_torch_trainer* trainer);
  /* The loss of a batch without gradients and without dropout. */
  int32_t (*test_batch)(torchclip_torch_trainer* trainer, const torchclip_training_batch* batch,
                        const torchclip_encode_options* options, torchclip_training_result* result,
                        torchclip_backend_error* error);
  /* Copies float [count] from or to a trained tensor. `part`: TORCHCLIP_TRAINED_... */
  int32_t (*read_trained)(torchclip_torch_trainer* trainer, const char* name, int32_t part, int64_t count, float* to,
                          torchclip_backend_error* error);
  int32_t (*write_trained)(torchclip_torch_trainer* trainer, const char* name, int32_t part, int64_t count,
                           const float* from, torchclip_backend_error* error);
  /* The number of steps that were made, for a trainer that goes on with the tensors and moments of another. */
  void (*set_steps)(torchclip_torch_trainer* trainer, int64_t steps);
} torchclip_torch_table;

/* The function that the library exports, and its name. */
typedef const torchclip_torch_table* (*torchclip_torch_entry)(void);
#define TORCHCLIP_TORCH_ENTRY "torchclip_torch"

#ifdef __cplusplus
}
#endif
#endif
