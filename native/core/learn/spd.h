// The inverse of a symmetric positive definite matrix.
#pragma once

#include <cstdint>

#include "linalg/packed.h"

namespace torchclip::core {

// Replaces the symmetric matrix a [n, n] by its inverse, through its Cholesky factorisation a = U^T U. `n` is a
// multiple of kProductColumns. Returns false, with `a` in an unspecified state, if a pivot is not positive.
bool invert_spd(const Context& context, double* a, std::int64_t n);

}  // namespace torchclip::core
