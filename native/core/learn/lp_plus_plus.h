// LP++ (Huang et al., CVPR 2024, arXiv:2404.02285): a linear probe for few images of each class whose weights blend a
// visual prototype with the embedding of the class's text: logit_k = x (w_k + alpha_k t_k) + b_k. Gradient steps whose
// lengths follow from Lipschitz constants, so that nothing is chosen on validation images.
#pragma once

#include <cstdint>

#include "base/cancel.h"

namespace torchclip::core {

struct LpPlusPlusProblem {
  const float* features = nullptr;       // [rows, dim], of length 1
  const std::int32_t* labels = nullptr;  // [rows], each in [0, classes)
  const float* texts = nullptr;          // [classes, dim], of length 1
  std::int64_t rows = 0, dim = 0;
  std::int32_t classes = 0;
};

struct LpPlusPlusOptions {
  std::int32_t steps = 300;  // of the authors
  std::int32_t threads = 0;  // 0: one per core
  Cancel cancel = nullptr;   // Ends the fit with Error(E_ABORTED) before its next step.
  Cancel ending = nullptr;   // The same, for a process that ends.
};

// Writes w_k + alpha_k t_k (float64 [classes, dim]), b_k ([classes]) and alpha_k ([classes]).
void fit_lp_plus_plus(const LpPlusPlusProblem& problem, const LpPlusPlusOptions& options, double* coefficients,
                      double* intercepts, double* alphas);

}  // namespace torchclip::core
