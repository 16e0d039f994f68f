// The C ABI on the tiny model: shapes, norms, top-k, and a status for each misuse. argv[1]: models/tiny.pt
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "torchclip/torchclip.hpp"

namespace {

// Numbers outside of their ranges, sizes that overflow, NULLs: refused before anything is read or written.
void test_ranges(torchclip::Clip& clip, const char* path) {
  torchclip_error error{};
  const auto refused = [&](torchclip_status status, const char* names) {
    return status == TORCHCLIP_E_ARGUMENT && error.status == status && std::strstr(error.message, names);
  };
  for (const std::int32_t threads : {-7, -1, 1025, INT32_MIN, INT32_MAX}) {
    const torchclip_options options{"cpu", "fp32", threads, 0};
    CHECK(torchclip_open(path, &options, &error) == nullptr && refused(error.status, "threads"));
  }
  auto* engine = clip.get();
  std::uint8_t pixels[3] = {};
  float out[4] = {};
  std::int32_t ids[4] = {};
  const char* texts[] = {"a", nullptr};
  const std::int64_t rows[] = {0, -1, INT64_MIN, INT64_MAX, INT64_MAX / 4};
  for (const auto n : rows) {
    CHECK(refused(torchclip_encode_pixels(engine, pixels, n, out, 1, &error), "rows"));
    CHECK(refused(torchclip_encode_tokens(engine, ids, n, 4, out, 1, &error), "rows"));
    CHECK(refused(torchclip_tokenize(engine, texts, n, 1, ids, &error), "rows"));
    CHECK(refused(torchclip_encode_texts(engine, texts, n, 1, out, 1, &error), "rows"));
    CHECK(refused(torchclip_similarity(out, n, out, 1, 2, out, &error), "a_rows"));
    CHECK(refused(torchclip_similarity(out, 1, out, n, 2, out, &error), "b_rows"));
    CHECK(refused(torchclip_top_k(out, n, out, 2, 2, 1, ids, out, &error), "query_rows"));
    CHECK(refused(torchclip_top_k(out, 1, out, n, 2, 1, ids, out, &error), "base_rows"));
  }
  for (const std::int32_t n : {0, -1, INT32_MIN, INT32_MAX}) {
    CHECK(refused(torchclip_preprocess(engine, pixels, n, 1, 3, pixels, &error), "width"));
    CHECK(refused(torchclip_preprocess(engine, pixels, 1, n, 3, pixels, &error), "height"));
    CHECK(refused(torchclip_preprocess(engine, pixels, 1, 1, n, pixels, &error), "channels"));
    CHECK(refused(torchclip_encode_tokens(engine, ids, 1, n, out, 1, &error), "length"));
    CHECK(refused(torchclip_top_k(out, 1, out, 1, n, 1, ids, out, &error), "dim"));
    CHECK(refused(torchclip_top_k(out, 1, out, 1, 2, n, ids, out, &error), "k"));
  }
  CHECK(refused(torchclip_preprocess(engine, nullptr, 1, 1, 3, pixels, &error), "pixels"));
  CHECK(refused(torchclip_preprocess(nullptr, pixels, 1, 1, 3, pixels, &error), "engine"));
  CHECK(refused(torchclip_encode_pixels(engine, nullptr, 1, out, 1, &error), "batch"));
  CHECK(refused(torchclip_encode_tokens(engine, ids, 1, 4, nullptr, 1, &error), "out"));
  CHECK(refused(torchclip_info(engine, nullptr, &error), "info"));
  CHECK(torchclip_encode_texts(engine, texts, 2, 1, out, 1, nullptr) == TORCHCLIP_E_ARGUMENT);
  // A message that is too long is cut between two characters.
  std::string lengthy = "/";
  while (lengthy.size() < 2000) lengthy += "\xe2\x82\xac";
  CHECK(torchclip_open(lengthy.c_str(), nullptr, &error) == nullptr &&
        std::strlen(error.message) < sizeof error.message);
  const std::string message = error.message;
  CHECK((message.back() & 0xC0) != 0xC0 && message.size() >= sizeof error.message - 4);
}

}  // namespace

int main(int, char** argv) {
  torchclip_error error{};
  CHECK(torchclip_abi_version() == TORCHCLIP_ABI_VERSION);
  CHECK(torchclip_open("/nowhere.pt", nullptr, &error) == nullptr && error.status == TORCHCLIP_E_MODEL_NOT_FOUND);
  CHECK(std::strstr(error.message, "/nowhere.pt"));
  const torchclip_options odd{"abacus", nullptr, 0, 0};
  CHECK(torchclip_open(argv[1], &odd, &error) == nullptr && error.status == TORCHCLIP_E_ARGUMENT);

  torchclip::Clip clip(argv[1], torchclip_options{"cpu", "fp32", 1, 0});
  const auto& info = clip.info();
  CHECK(info.image_size == 224 && info.embed_dim > 0 && std::strcmp(info.device, "cpu") == 0);

  std::vector<std::uint8_t> red(300 * 200 * 3, 0);
  for (std::size_t i = 0; i < red.size(); i += 3) red[i] = 255;
  auto batch = clip.preprocess(red.data(), 300, 200, 3);
  const auto half = batch;
  batch.insert(batch.end(), half.begin(), half.end());
  const auto image = clip.encode_pixels(batch.data(), 2);
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
  test_ranges(clip, argv[1]);
  torchclip_close(nullptr);
  return torchclip::test::failures();
}
