#include "model/artifact/image_projection.h"

#include <algorithm>

namespace torchclip::core {

ProjectionKind read_image_projection(const Artifact& artifact, float* matrix, float* bias) {
  const auto& config = artifact.config();
  const auto& projection = config.image.projection;
  if (config.third_party) return ProjectionKind::other;
  if (projection.kind != ProjectionKind::linear) return projection.kind;
  const auto weights = artifact.weights();
  const auto stored = need(weights, projection.matrix);
  if (projection.transposed) {
    std::copy_n(stored.data, stored.rows() * stored.inner(), matrix);
  } else {
    const auto columns = transposed(stored);
    std::copy(columns.begin(), columns.end(), matrix);
  }
  std::fill_n(bias, config.embed_dim, 0.0f);
  if (!projection.bias.empty()) std::copy_n(need(weights, projection.bias).data, config.embed_dim, bias);
  return ProjectionKind::linear;
}

}  // namespace torchclip::core
