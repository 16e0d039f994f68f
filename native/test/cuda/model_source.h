// An artifact as make_model takes it, without the runner.
#pragma once

#include "model.h"
#include "model/artifact/artifact.h"
#include "model/config/pixel_table.h"

namespace torchclip::cuda {

// Both towers in fp32. The artifact and the table must outlive the source.
inline ModelSource source_of(const core::Artifact& file, const core::PixelTable& table) {
  const auto& config = file.config();
  return {"fp32",           file.weights(),    config.json, config.embed_dim, config.context_length,
          config.transform, &table.value[0][0]};
}

}  // namespace torchclip::cuda
