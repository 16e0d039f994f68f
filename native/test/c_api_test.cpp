// The C ABI on the tiny model: shapes, norms, top-k, and a status for each misuse. argv[1]: models/tiny.pt
#include <cmath>
#include <cstring>
#include <vector>

#include "check.h"
#include "torchclip/torchclip.hpp"

int main(int, char** argv) {
  torchclip_error error{};
  CHECK(torchclip_abi_version() == TORCHCLIP_ABI_VERSION);
  CHECK(torchclip_open("/nowhere.pt", nullptr, &error) == nullptr && error.status == TORCHCLIP_E_MODEL_NOT_FOUND);
  CHECK(std::strstr(error.message, "/nowhere.pt"));
  const torchclip_options odd{"abacus", nullptr, 0};
  CHECK(torchclip_open(argv[1], &odd, &error) == nullptr && error.status == TORCHCLIP_E_ARGUMENT);

  torchclip::Clip clip(argv[1], torchclip_options{"cpu", "fp32", 1});
  const auto& info = clip.info();
  CHECK(info.image_size == 224 && info.embed_dim > 0 && std::strcmp(info.device, "cpu") == 0);

  std::vector<std::uint8_t> red(300 * 200 * 3, 0);
  for (std::size_t i = 0; i < red.size(); i += 3) red[i] = 255;
  auto batch = clip.preprocess(red.data(), 300, 200, 3);
  const auto half = batch;
  batch.insert(batch.end(), half.begin(), half.end());
  const auto image = clip.encode_images(batch.data(), 2);
  double norm = 0, apart = 0;
  for (int i = 0; i < info.embed_dim; ++i) {
    norm += image[i] * image[i];
    apart = std::max<double>(apart, std::abs(image[i] - image[info.embed_dim + i]));
  }
  CHECK(std::abs(norm - 1) < 1e-5 && apart < 1e-5);

  std::vector<std::int32_t> ids{info.vocab_size - 2, 5, info.vocab_size - 1, 0};
  CHECK(clip.encode_tokens(ids.data(), 1, 4).size() == static_cast<std::size_t>(info.embed_dim));
  ids[1] = info.vocab_size;
  try {
    clip.encode_tokens(ids.data(), 1, 4);
    CHECK(false);
  } catch (const torchclip::Exception& e) {
    CHECK(e.status() == TORCHCLIP_E_ARGUMENT && std::strcmp(e.code(), "E_ARGUMENT") == 0);
  }

  // Texts: tokens, then the same embedding as theirs; what is wrong is named.
  const char* texts[] = {"A  Red Square!", "\xc3\x28"};
  std::vector<std::int32_t> made(static_cast<std::size_t>(info.context_length));
  CHECK(torchclip_tokenize(clip.get(), texts, 1, 0, made.data(), &error) == TORCHCLIP_OK);
  CHECK(made[0] == info.vocab_size - 2 && made.back() == info.pad_id);
  std::vector<float> direct(static_cast<std::size_t>(info.embed_dim));
  CHECK(torchclip_encode_texts(clip.get(), texts, 1, 0, direct.data(), 1, &error) == TORCHCLIP_OK);
  CHECK(clip.encode_tokens(made.data(), 1, info.context_length) == direct);
  CHECK(torchclip_tokenize(clip.get(), texts + 1, 1, 0, made.data(), &error) == TORCHCLIP_E_ARGUMENT);
  CHECK(std::strstr(error.message, "text 0: byte 0 is no UTF-8"));
  const std::string many(1000, 'x');
  const std::string spaced = [&] {
    std::string s;
    for (const char c : many) s += {c, ' '};
    return s;
  }();
  const char* lengthy = spaced.c_str();
  CHECK(torchclip_tokenize(clip.get(), &lengthy, 1, 0, made.data(), &error) == TORCHCLIP_E_ARGUMENT);
  CHECK(torchclip_tokenize(clip.get(), &lengthy, 1, 1, made.data(), &error) == TORCHCLIP_OK &&
        made.back() == info.vocab_size - 1);

  const float base[] = {1, 0, 0, 1, 0.6f, 0.8f, 1, 0}, query[] = {1, 0};
  std::int32_t indices[3];
  float scores[3];
  CHECK(torchclip_top_k(query, 1, base, 4, 2, 3, indices, scores, &error) == TORCHCLIP_OK);
  CHECK(indices[0] == 0 && indices[1] == 3 && indices[2] == 2 && scores[0] == 1);
  CHECK(torchclip_top_k(query, 1, base, 4, 2, 5, indices, scores, &error) == TORCHCLIP_E_ARGUMENT);
  float matrix[4];
  CHECK(torchclip_similarity(query, 1, base, 4, 2, matrix, &error) == TORCHCLIP_OK &&
        std::abs(matrix[2] - 0.6f) < 1e-6f);
  CHECK(torchclip_similarity(nullptr, 1, base, 4, 2, matrix, &error) == TORCHCLIP_E_ARGUMENT);
  torchclip_close(nullptr);
  return torchclip::test::failures();
}
