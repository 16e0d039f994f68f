// ProLIP (Fahes et al., arXiv:2410.05270): few-shot learning by fine-tuning the projection of the image encoder alone,
// with the distance to the projection that it begins with as a penalty:
//
//   f_i = normalised (W x_i + b)      logits = scale t_k . f_i      loss = mean cross-entropy + lambda |W - W_0|^2
//
// for pooled features x and the embeddings t of the classes' texts, which stay as they are, as b does.
#pragma once

#include <cstdint>

#include "base/cancel.h"

namespace torchclip::core {

struct ProlipProblem {
  const float* features = nullptr;       // [rows, dim], pooled features
  const std::int32_t* labels = nullptr;  // [rows], each in [0, classes)
  const float* texts = nullptr;          // [classes, columns], of length 1
  const float* matrix = nullptr;         // W_0: [columns, dim]
  const float* bias = nullptr;           // b: [columns]
  std::int64_t rows = 0, dim = 0, columns = 0;
  std::int32_t classes = 0;
  double logit_scale = 0;  // exp of the learned parameter
  double lambda = 0;       // of the penalty, at least 0
};

struct ProlipOptions {
  std::int32_t steps = 300;     // of the authors
  double learning_rate = 1e-5;  // of the first step; it falls to 0 along a half cosine
  std::int32_t threads = 0;     // 0: one per core
  Cancel cancel = nullptr;      // Ends the fit with Error(E_ABORTED) before its next step.
  Cancel ending = nullptr;      // The same, for a process that ends.
};

// Writes W to `matrix`, float64 [columns, dim]. The bits do not depend on the number of threads.
void fit_prolip(const ProlipProblem& problem, const ProlipOptions& options, double* matrix);

}  // namespace torchclip::core
