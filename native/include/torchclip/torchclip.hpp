// C++ wrapper of the C ABI (torchclip.h) with RAII and exceptions. It is header-only, so that no C++ type crosses the
// library's boundary. torchclip.h documents shapes and meanings.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "torchclip.h"

namespace torchclip {

class Exception : public std::runtime_error {
 public:
  explicit Exception(const torchclip_error& error) : std::runtime_error(error.message), status_(error.status) {}
  torchclip_status status() const noexcept { return status_; }
  const char* code() const noexcept { return torchclip_status_name(status_); }

 private:
  torchclip_status status_;
};

class Clip {
 public:
  explicit Clip(const std::string& path, const torchclip_options& options = {}) {
    torchclip_error error{};
    engine_.reset(torchclip_open(path.c_str(), &options, &error));
    if (!engine_) throw Exception(error);
    check(torchclip_info(engine_.get(), &info_, &error), error);
  }

  const torchclip_model_info& info() const noexcept { return info_; }

  // Converts uint8 [height, width, channels] to uint8 [image_size, image_size, 3].
  std::vector<std::uint8_t> preprocess(const std::uint8_t* pixels, std::int32_t width, std::int32_t height,
                                       std::int32_t channels) const {
    const auto side = static_cast<std::size_t>(info_.image_size);
    std::vector<std::uint8_t> out(side * side * 3);
    torchclip_error error{};
    check(torchclip_preprocess(engine_.get(), pixels, width, height, channels, out.data(), &error), error);
    return out;
  }

  std::vector<float> encode_pixels(const std::uint8_t* batch, std::int64_t rows, bool normalize = true) {
    auto out = zeros(rows, info_.embed_dim);
    torchclip_error error{};
    check(torchclip_encode_pixels(engine_.get(), batch, rows, out.data(), normalize, &error), error);
    return out;
  }

  // The floats of one pooled image feature; 0 for a third-party export.
  std::int32_t pooled_dim() const {
    std::int32_t dim = 0;
    torchclip_error error{};
    check(torchclip_pooled_dim(engine_.get(), &dim, &error), error);
    return dim;
  }

  std::vector<float> encode_pooled(const std::uint8_t* batch, std::int64_t rows, bool normalize = false) {
    auto out = zeros(rows, pooled_dim());
    torchclip_error error{};
    check(torchclip_encode_pooled(engine_.get(), batch, rows, out.data(), normalize, &error), error);
    return out;
  }

  std::vector<float> encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int32_t length,
                                   bool normalize = true) {
    auto out = zeros(rows, info_.embed_dim);
    torchclip_error error{};
    check(torchclip_encode_tokens(engine_.get(), ids, rows, length, out.data(), normalize, &error), error);
    return out;
  }

  // Encodes UTF-8 texts, for models with CLIP's own tokenizer. For `truncate` see torchclip_tokenize.
  std::vector<float> encode_texts(const std::vector<std::string>& texts, bool truncate = false, bool normalize = true) {
    std::vector<const char*> pointers;
    for (const auto& text : texts) pointers.push_back(text.c_str());
    std::vector<float> out(texts.size() * static_cast<std::size_t>(info_.embed_dim));
    torchclip_error error{};
    check(torchclip_encode_texts(engine_.get(), pointers.data(), static_cast<std::int64_t>(texts.size()), truncate,
                                 out.data(), normalize, &error),
          error);
    return out;
  }

  // Returns the engine for the functions of the C ABI; this object keeps ownership.
  torchclip_engine* get() const noexcept { return engine_.get(); }

 private:
  static std::vector<float> zeros(std::int64_t rows, std::int32_t width) {
    return std::vector<float>(static_cast<std::size_t>(rows) * static_cast<std::size_t>(width));
  }
  static void check(torchclip_status status, const torchclip_error& error) {
    if (status != TORCHCLIP_OK) throw Exception(error);
  }
  struct Close {
    void operator()(torchclip_engine* engine) const { torchclip_close(engine); }
  };
  std::unique_ptr<torchclip_engine, Close> engine_;
  torchclip_model_info info_{};
};

}  // namespace torchclip
