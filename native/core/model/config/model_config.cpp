#include "model/config/model_config.h"

#include <cmath>

#include "base/error.h"
#include "model/config/fields.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kFormat = 2;

TowerLayout image_layout(const Json& json, std::int64_t embed_dim) {
  const auto kind = json["kind"].text();
  if (kind == "vit") return vit_layout(json, embed_dim);
  if (kind == "resnet") return resnet_layout(json, embed_dim);
  if (kind == "eva") return eva_layout(json, embed_dim);
  if (kind == "convnext") return convnext_layout(json, embed_dim);
  if (kind == "fastvit") return fastvit_layout(json, embed_dim);
  throw Error(TORCHCLIP_E_MODEL_CORRUPT, "torchclip.json: image.kind is none of this version's");
}

TowerLayout text_layout(const Json& json, std::int64_t embed_dim) {
  const auto kind = json["kind"].text();
  if (kind == "transformer") return text_transformer_layout(json, embed_dim);
  if (kind == "roberta") return roberta_layout(json, embed_dim);
  throw Error(TORCHCLIP_E_MODEL_CORRUPT, "torchclip.json: text.kind is none of this version's");
}

TowerLayout third_party_image(const Json& json) {
  Fields fields(json, "image");
  fields.choice("kind", {"torchscript"});
  TowerLayout layout;
  layout.image_size = fields.whole("imageSize", 1, kMostPixels);
  fields.finish();
  return layout;
}

TowerLayout third_party_text(const Json& json) {
  Fields fields(json, "text");
  fields.choice("kind", {"torchscript"});
  TowerLayout layout;
  layout.context_length = fields.whole("contextLength", 1, kMostTokens);
  layout.vocab_size = fields.whole("vocabSize", 1, kMostVocabulary);
  fields.finish();
  return layout;
}

Filter filter_named(const std::string& name) {
  if (name == "bilinear") return Filter::kBilinear;
  if (name == "box") return Filter::kBox;
  if (name == "hamming") return Filter::kHamming;
  return name == "lanczos" ? Filter::kLanczos : Filter::kBicubic;
}

void read_preprocessing(const Json& json, ModelConfig& config) {
  Fields fields(json, "preprocessing");
  const auto resize = fields.choice("resize", {"shortest", "squash", "longest"});
  const auto filter = fields.choice("interpolation", {"bicubic", "bilinear", "box", "hamming", "lanczos"});
  const bool floors = fields.choice_or("crop", {"round", "floor"}, "round") == "floor";
  auto& transform = config.transform;
  transform.size = static_cast<std::int32_t>(config.image_size);
  transform.resize = resize == "shortest" ? Resize::kShortest : resize == "squash" ? Resize::kSquash : Resize::kLongest;
  transform.filter = filter_named(filter);
  transform.crop = floors ? Crop::kFloor : Crop::kRound;
  transform.resized =
      static_cast<std::int32_t>(fields.whole_or("resized", config.image_size, kMostPixels, config.image_size));
  transform.fill = static_cast<std::uint8_t>(fields.whole("fill", 0, 255));
  const auto mean = fields.numbers("mean", 3, -1e6, 1e6), std = fields.numbers("std", 3, -1e6, 1e6);
  for (std::size_t i = 0; i < 3; ++i) {
    if (std::abs(std[i]) < 1e-9) fields.fail("std", "holds 0");
    config.mean[i] = mean[i];
    config.std[i] = std[i];
  }
  fields.finish();
}

// The rest of this object is for the tokenizers, which read it themselves.
void read_tokenizer(const Json& json, ModelConfig& config) {
  Fields fields(json, "tokenizer");
  config.pad_id = fields.whole("padId", 0, config.vocab_size - 1);
  fields.choice("kind", {"clip", "huggingface"});
  if (fields.object("endId").kind() != Json::Kind::null) fields.whole("endId", 0, config.vocab_size - 1);
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const auto axis : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(axis);
  return text + "]";
}

bool fits(const std::vector<std::int64_t>& expected, const std::vector<std::int64_t>& found) {
  if (expected.size() != found.size()) return false;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] != -1 && expected[i] != found[i]) return false;
  }
  return true;
}

[[noreturn]] void corrupt(const std::string& what) { throw Error(TORCHCLIP_E_MODEL_CORRUPT, what); }

void check_lora_kind(const Json& tower, const std::string& which, const std::string& kind) {
  const auto found = tower["kind"].text();
  if (found == kind) return;
  throw Error(TORCHCLIP_E_ARGUMENT,
              "LoRA needs Transformer blocks of CLIP's kind; the " + which + " tower is of the kind " + found);
}

const char* const kRootSource =
    "\ndef encode_image(self, image: Tensor) -> Tensor:\n    return self.visual.forward(image)\n"
    "\ndef encode_text(self, text: Tensor) -> Tensor:\n    return self.text.forward(text)\n";

}  // namespace

ModelConfig ModelConfig::parse(const std::string& text) {
  ModelConfig config;
  config.json = Json::parse(text);
  Fields fields(config.json, "settings");
  fields.whole("formatVersion", kFormat, kFormat);
  config.embed_dim = fields.whole("embedDim", 1, kMostWidth);
  config.sigmoid = fields.choice("loss", {"softmax", "sigmoid"}) == "sigmoid";
  const auto &image = fields.object("image"), &words = fields.object("text");
  config.third_party = image["kind"].text() == "torchscript" || words["kind"].text() == "torchscript";
  config.image = config.third_party ? third_party_image(image) : image_layout(image, config.embed_dim);
  config.text = config.third_party ? third_party_text(words) : text_layout(words, config.embed_dim);
  config.image_size = config.image.image_size;
  config.context_length = config.text.context_length;
  config.vocab_size = config.text.vocab_size;
  config.text_trims = config.text.trims;
  read_preprocessing(fields.object("preprocessing"), config);
  read_tokenizer(fields.object("tokenizer"), config);
  return config;
}

Shapes ModelConfig::shapes() const {
  Shapes all = image.shapes;
  all.insert(text.shapes.begin(), text.shapes.end());
  all["logit_scale"] = {};
  if (sigmoid) all["logit_bias"] = {};
  return all;
}

std::vector<ModuleSource> ModelConfig::modules() const {
  auto all = image.modules;
  all.insert(all.end(), text.modules.begin(), text.modules.end());
  if (!third_party) all.push_back({"", kRootSource});
  return all;
}

std::map<std::string, Attribute> ModelConfig::attributes() const {
  return {{"image_size", image_size},
          {"image_resize", static_cast<std::int64_t>(transform.resize)},
          {"image_resized", static_cast<std::int64_t>(transform.resized)},
          {"image_crop", static_cast<std::int64_t>(transform.crop)},
          {"image_filter", static_cast<std::int64_t>(transform.filter)},
          {"image_fill", static_cast<std::int64_t>(transform.fill)},
          {"image_mean", std::vector<double>(mean.begin(), mean.end())},
          {"image_std", std::vector<double>(std.begin(), std.end())},
          {"context_length", context_length},
          {"vocab_size", vocab_size},
          {"embed_dim", embed_dim},
          {"pad_id", pad_id},
          {"text_trims", static_cast<std::int64_t>(text_trims)}};
}

TowerLayout ModelConfig::image_with_lora(const LoraLayout& lora) const {
  check_lora_kind(json["image"], "image", "vit");
  return vit_layout(json["image"], embed_dim, &lora);
}

TowerLayout ModelConfig::text_with_lora(const LoraLayout& lora) const {
  check_lora_kind(json["text"], "text", "transformer");
  return text_transformer_layout(json["text"], embed_dim, &lora);
}

void ModelConfig::check_shapes(const Shapes& found) const {
  const auto expected = shapes();
  for (const auto& [name, shape] : expected) {
    const auto at = found.find(name);
    if (at == found.end()) corrupt("the tensor " + name + " is missing");
    if (!fits(shape, at->second)) {
      corrupt("the tensor " + name + " has shape " + shape_text(at->second) + ", the settings call for " +
              shape_text(shape));
    }
  }
  for (const auto& [name, shape] : found) {
    if (expected.count(name) == 0) corrupt("the tensor " + name.substr(0, 200) + " belongs to no setting");
  }
}

void ModelConfig::check_attributes(const std::map<std::string, PickledAttribute>& found) const {
  for (const auto& [name, value] : attributes()) {
    const auto at = found.find(name);
    if (at == found.end()) continue;
    const auto* whole = std::get_if<std::int64_t>(&value);
    const auto* found_whole = std::get_if<std::int64_t>(&at->second);
    const auto* found_numbers = std::get_if<std::vector<double>>(&at->second);
    const bool same = whole ? found_whole && *found_whole == *whole
                            : found_numbers && *found_numbers == std::get<std::vector<double>>(value);
    if (!same) corrupt("the attribute " + name + " contradicts torchclip.json");
  }
}

}  // namespace torchclip::core
