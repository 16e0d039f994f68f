#include <algorithm>
#include <thread>

#include "measure.h"
#include "test_device.h"

namespace torchclip::gpu_check {

std::unique_ptr<cuda::Model> Subject::on_gpu(const std::string& precision) const {
  const auto weights = weights_of(shape);
  const core::Transform transform{static_cast<std::int32_t>(shape.size)};
  const float* pixels = &table.value[0][0];
  return cuda::make_model(cuda::test_device(), {precision, weights, config, shape.embed, kContext, transform, pixels});
}

CpuModel::CpuModel(const Subject& subject, core::Precision precision)
    : pool_(static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))),
      context_{*core::kernels(), pool_},
      embed_(subject.shape.embed) {
  const auto weights = weights_of(subject.shape);
  const auto& config = subject.config;
  image_ = core::ImageTower::make(context_, precision, weights, config["image"], subject.shape.embed, subject.table);
  text_ = core::TextTower::make(context_, precision, weights, config["text"], subject.shape.embed);
}

}  // namespace torchclip::gpu_check
