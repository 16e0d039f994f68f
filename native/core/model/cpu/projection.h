// The last steps of a tower, and Linear layers by their names.
#pragma once

#include <cstdint>
#include <string>

#include "linalg/packed.h"
#include "model/config/image_output.h"
#include "model/config/weights.h"
#include "model/cpu/layer_norm.h"

namespace torchclip::core {

// Applies the last steps of a tower, norm and projection if present, to the pooled rows (f32, overwritten) and writes
// the result to `out`.
void project(const Context& context, const LayerNorm* norm, const Linear& projection, const Matrix& pooled,
             const Matrix& out);
// The projection that an output goes through: `projection`, or an empty one for the pooled feature.
const Linear& projection_for(ImageOutput output, const Linear& projection);
// Makes a float32 Linear layer, for few rows, from a matrix [inner, columns] that rows are multiplied with from the
// left.
Linear projection_of(const Context& context, const Tensor& matrix, const float* bias);
Linear linear_of(const Context& context, Precision precision, const Weights& weights, const std::string& key);

}  // namespace torchclip::core
