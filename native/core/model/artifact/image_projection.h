// The linear projection that makes the image embedding of the pooled feature.
#pragma once

#include "model/artifact/artifact.h"

namespace torchclip::core {

// Reads a linear projection: embedding = matrix x pooled + bias, not normalised. matrix: float [embed_dim, pooled_dim];
// bias: float [embed_dim], zeros if the model has none. Writes nothing for the other kinds. A third-party export, which
// has no pooled feature, is ProjectionKind::other.
ProjectionKind read_image_projection(const Artifact& artifact, float* matrix, float* bias);

}  // namespace torchclip::core
