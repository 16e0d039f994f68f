#include "model/cpu/tower.h"

#include "model/config/tower_settings.h"
#include "model/cpu/convnext_tower.h"
#include "model/cpu/eva_tower.h"
#include "model/cpu/fastvit_tower.h"
#include "model/cpu/resnet_tower.h"
#include "model/cpu/roberta_tower.h"
#include "model/cpu/text_tower.h"
#include "model/cpu/vit_tower.h"

namespace torchclip::core {

std::unique_ptr<ImageTower> ImageTower::make(const Context& context, Precision precision, const Weights& weights,
                                             const Json& config, std::int64_t embed_dim, const PixelTable& pixels) {
  if (const auto vit = VitSettings::of(config)) {
    return std::make_unique<VitTower>(context, precision, weights, *vit, embed_dim, pixels);
  }
  if (config["kind"].text() == "eva") {
    return std::make_unique<EvaTower>(context, precision, weights, config, pixels);
  }
  if (config["kind"].text() == "resnet") {
    return std::make_unique<ResnetTower>(context, precision, weights, config, pixels);
  }
  if (config["kind"].text() == "convnext" && ConvnextTower::supports(config)) {
    return std::make_unique<ConvnextTower>(context, precision, weights, config, pixels);
  }
  if (config["kind"].text() == "fastvit") {
    return std::make_unique<FastvitTower>(context, precision, weights, config, pixels);
  }
  return nullptr;
}

std::unique_ptr<TextTower> TextTower::make(const Context& context, Precision precision, const Weights& weights,
                                           const Json& config, std::int64_t embed_dim) {
  if (const auto settings = TextSettings::of(config)) {
    return std::make_unique<ClipTextTower>(context, precision, weights, *settings, embed_dim);
  }
  if (config["kind"].text() == "roberta") return std::make_unique<RobertaTower>(context, precision, weights, config);
  return nullptr;
}

}  // namespace torchclip::core
