/*
 * The boundary between the core (torchclip.node, libtorchclip) and the libraries that it opens when it needs them, the
 * backends: libtorchclip_torch (torch_table.h) and libtorchclip_cuda (cuda_table.h). It is plain C, so that a backend
 * may be built by another compiler with another standard library than the core.
 *
 * A backend exports one function without arguments that returns its table of functions. The table lives as long as the
 * library, which is never closed. These rules hold for all functions on both sides:
 *
 * - A function that can fail returns a torchclip_status, describes the failure in `error`, which is never NULL, and
 *   leaves its results undefined. No exception leaves a function, and no function prints or ends the process.
 * - Each side frees what it allocated. A handle is opaque to the core, which passes it to its destroy function.
 * - Pointers in arguments, and what they point to, are valid until the call returns; a backend copies what it keeps.
 *   The same holds for the functions and contexts in the structs that the core passes.
 * - Strings are UTF-8. They end with NUL unless a length stands beside them; it does not count a NUL.
 * - The functions of one handle are called by one thread at a time.
 * - Tables, and most structs that the core passes, begin with their size in bytes. New functions and members are
 *   appended. The core refuses a table that ends before a function that it knows, and a backend a struct that ends
 *   before a member that it knows. Any other change increments TORCHCLIP_TABLE_VERSION.
 */
#ifndef TORCHCLIP_BACKEND_H
#define TORCHCLIP_BACKEND_H

#include <stdint.h>

#include "torchclip/torchclip.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TORCHCLIP_TABLE_VERSION 2

/* The first member of every table. */
typedef struct torchclip_table_header {
  uint32_t size;       /* of the whole table in bytes */
  uint32_t version;    /* TORCHCLIP_TABLE_VERSION of the header that the backend was compiled with */
  const char* release; /* the version of torchclip that the backend belongs to, "0.1.0": it must be the core's own,
                          since settings and weights mean what that version says */
} torchclip_table_header;

/* A failure, in memory of the caller. */
typedef struct torchclip_backend_error {
  int32_t status;     /* torchclip_status */
  char message[8188]; /* ends with NUL; truncated between two characters if longer */
} torchclip_backend_error;

/* What an image tower gives for an image: the embedding, or the pooled feature before the projection. */
enum { TORCHCLIP_OUTPUT_EMBEDDING = 0, TORCHCLIP_OUTPUT_POOLED = 1 };

/* How a batch is encoded. */
typedef struct torchclip_encode_options {
  uint32_t size;
  int32_t output; /* of images: TORCHCLIP_OUTPUT_...; of texts 0 */
  const volatile int32_t*
      cancel;        /* work ends with TORCHCLIP_E_ABORTED soon after *cancel became nonzero; NULL: never */
  int32_t normalize; /* nonzero: each row is divided by its Euclidean norm; the core asks a GPU alone for it */
  /* Of a GPU alone. Not NULL: the function may return before the results are there. *call then becomes the number of
   * the call for finish_call (cuda_table.h), until which the input and `out` must stay as they are; 0: the results are
   * there.
   */
  uint64_t* call;
  /* With `call`: called once, when the first part of the work waits for the GPU; it may finish earlier calls. May be
   * NULL.
   */
  void (*begun)(void* context);
  void* context; /* for `begun` */
} torchclip_encode_options;

#ifdef __cplusplus
}
#endif
#endif
