// The last steps of a tower, and Linear layers by their names.
#pragma once

#include <cstdint>
#include <string>

#include "linalg/packed.h"
#include "model/config/weights.h"
#include "model/cpu/workspace.h"

namespace torchclip::core {

// The last steps of a tower, for a few pooled rows (float [count, width], overwritten): norm and projection, where
// there are any, to `out`.
void project(const Context& context, const Norm* norm, const Linear& projection, float* rows, std::int64_t count,
             std::int64_t width, float* out);
// A matrix that rows are multiplied with from the left, [inner, columns]: float32, for few rows.
Linear projection_of(const Context& context, const Tensor& matrix, const float* bias);
Linear linear_of(const Context& context, Precision precision, const Weights& weights, const std::string& key);

}  // namespace torchclip::core
