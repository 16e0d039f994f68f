// The C ABI on the tiny model: shapes, norms, top-k, and a status for each misuse.
//   core_c_api_test ARTIFACT
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "torchclip/torchclip.hpp"

using namespace torchclip::test;

namespace {

const char* artifact() { return arguments().at(0).c_str(); }

torchclip::Clip open_artifact() { return torchclip::Clip(artifact(), torchclip_options{"cpu", "fp32", 1, 0, 0}); }

// What is wrong with a call that ought to be refused because of the argument `name`; empty where nothing is.
std::string not_refused(torchclip_status status, const torchclip_error& error, const char* name) {
  if (status != TORCHCLIP_E_ARGUMENT) return "the status is " + std::to_string(status);
  if (error.status != status) return "the error's status is " + std::to_string(error.status);
  if (!std::strstr(error.message, name)) return std::string("the message is \"") + error.message + "\"";
  return "";
}

bool contains(const char* text, const char* part) { return std::strstr(text, part) != nullptr; }

}  // namespace

TEST_CASE("the library has the version of its header") { CHECK(torchclip_abi_version() == TORCHCLIP_ABI_VERSION); }

TEST_CASE("a model that cannot be opened is NULL with a status") {
  torchclip_error error{};
  CHECK(torchclip_open("/nowhere.pt", nullptr, &error) == nullptr);
  CHECK(error.status == TORCHCLIP_E_MODEL_NOT_FOUND);
  CAPTURE(std::string(error.message));
  CHECK(contains(error.message, "/nowhere.pt"));
  const torchclip_options odd{"abacus", nullptr, 0, 0, 0};
  CHECK(torchclip_open(artifact(), &odd, &error) == nullptr);
  CHECK(error.status == TORCHCLIP_E_ARGUMENT);
}

TEST_CASE("one tower alone: calls that need the other are E_ARGUMENT, as is a tower that there is not") {
  torchclip_options options{};
  torchclip_error error{};
  for (const std::int32_t towers : {-1, 3}) {
    options.towers = towers;
    CHECK(torchclip_open(artifact(), &options, &error) == nullptr);
    CHECK(error.status == TORCHCLIP_E_ARGUMENT);
  }
  options.towers = 2;
  torchclip::Clip texts(artifact(), options);
  CHECK(texts.encode_texts({"a cat"}).size() == static_cast<std::size_t>(texts.info().embed_dim));
  const std::vector<std::uint8_t> pixels(224 * 224 * 3, 90);
  CHECK_THROWS_WITH_AS(texts.encode_pixels(pixels.data(), 1), "the model was loaded without its image tower",
                       torchclip::Exception);
  options.towers = 1;
  torchclip::Clip images(artifact(), options);
  CHECK(images.encode_pixels(pixels.data(), 1).size() == static_cast<std::size_t>(images.info().embed_dim));
  CHECK_THROWS_WITH_AS(images.encode_texts({"a cat"}), "the model was loaded without its text tower",
                       torchclip::Exception);
}

TEST_CASE("images have embeddings of length 1, and equal images have equal ones") {
  auto clip = open_artifact();
  const auto& info = clip.info();
  CHECK(info.image_size == 224);
  CHECK(info.embed_dim > 0);
  CHECK(std::string(info.device) == "cpu");

  std::vector<std::uint8_t> red(300 * 200 * 3, 0);
  for (std::size_t i = 0; i < red.size(); i += 3) red[i] = 255;
  auto batch = clip.preprocess(red.data(), 300, 200, 3);
  const auto half = batch;
  batch.insert(batch.end(), half.begin(), half.end());
  const auto image = clip.encode_pixels(batch.data(), 2);
  const auto dim = static_cast<std::size_t>(info.embed_dim);
  double norm = 0, apart = 0;
  for (std::size_t i = 0; i < dim; ++i) {
    norm += image[i] * image[i];
    apart = std::max<double>(apart, std::abs(image[i] - image[dim + i]));
  }
  CHECK(std::abs(norm - 1) < 1e-5);
  CHECK(apart < 1e-5);
}

TEST_CASE("pooled features are raw, and of length 1 where that is asked for") {
  auto clip = open_artifact();
  CHECK(clip.pooled_dim() > 0);
  const std::vector<std::uint8_t> red(300 * 200 * 3, 200);
  const auto batch = clip.preprocess(red.data(), 300, 200, 3);
  const auto raw = clip.encode_pooled(batch.data(), 1), unit = clip.encode_pooled(batch.data(), 1, true);
  CHECK(raw.size() == static_cast<std::size_t>(clip.pooled_dim()));
  double squares = 0, unit_squares = 0, apart = 0;
  for (const float x : raw) squares += static_cast<double>(x) * x;
  for (const float x : unit) unit_squares += static_cast<double>(x) * x;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    apart = std::max(apart, std::abs(raw[i] / std::sqrt(squares) - unit[i]));
  }
  CHECK(std::abs(squares - 1) > 0.1);
  CHECK(std::abs(unit_squares - 1) < 1e-5);
  CHECK(apart < 1e-6);
}

TEST_CASE("tokens: an embedding for each row, and an exception for an id outside of the vocabulary") {
  auto clip = open_artifact();
  const auto& info = clip.info();
  std::vector<std::int32_t> ids{info.vocab_size - 2, 5, info.vocab_size - 1, 0};
  CHECK(clip.encode_tokens(ids.data(), 1, 4).size() == static_cast<std::size_t>(info.embed_dim));
  ids[1] = info.vocab_size;
  try {
    clip.encode_tokens(ids.data(), 1, 4);
    FAIL_CHECK("no exception");
  } catch (const torchclip::Exception& e) {
    CHECK(e.status() == TORCHCLIP_E_ARGUMENT);
    CHECK(std::string(e.code()) == "E_ARGUMENT");
  }
}

TEST_CASE("texts: tokens, then the same embedding as theirs") {
  auto clip = open_artifact();
  const auto& info = clip.info();
  torchclip_error error{};
  const char* texts[] = {"A  Red Square!"};
  std::vector<std::int32_t> ids(static_cast<std::size_t>(info.context_length));
  CHECK(torchclip_tokenize(clip.get(), texts, 1, 0, ids.data(), &error) == TORCHCLIP_OK);
  CHECK(ids[0] == info.vocab_size - 2);
  CHECK(ids.back() == info.pad_id);
  std::vector<float> direct(static_cast<std::size_t>(info.embed_dim));
  CHECK(torchclip_encode_texts(clip.get(), texts, 1, 0, direct.data(), 1, &error) == TORCHCLIP_OK);
  CHECK(first_difference(clip.encode_tokens(ids.data(), 1, info.context_length), direct) == "");
}

TEST_CASE("texts that are no UTF-8 are refused and named") {
  auto clip = open_artifact();
  torchclip_error error{};
  const char* text = "\xc3\x28";
  std::vector<std::int32_t> ids(static_cast<std::size_t>(clip.info().context_length));
  CHECK(torchclip_tokenize(clip.get(), &text, 1, 0, ids.data(), &error) == TORCHCLIP_E_ARGUMENT);
  CAPTURE(std::string(error.message));
  CHECK(contains(error.message, "text 0: byte 0 is no UTF-8"));
}

TEST_CASE("texts that are too long are refused, or truncated where that is asked for") {
  auto clip = open_artifact();
  torchclip_error error{};
  std::string spaced;
  for (int i = 0; i < 1000; ++i) spaced += "x ";
  const char* lengthy = spaced.c_str();
  std::vector<std::int32_t> ids(static_cast<std::size_t>(clip.info().context_length));
  CHECK(torchclip_tokenize(clip.get(), &lengthy, 1, 0, ids.data(), &error) == TORCHCLIP_E_ARGUMENT);
  CHECK(torchclip_tokenize(clip.get(), &lengthy, 1, 1, ids.data(), &error) == TORCHCLIP_OK);
  CHECK(ids.back() == clip.info().vocab_size - 1);
}

TEST_CASE("top-k and similarity of plain rows") {
  torchclip_error error{};
  const float base[] = {1, 0, 0, 1, 0.6f, 0.8f, 1, 0}, query[] = {1, 0};
  std::int32_t indices[3];
  float scores[3];
  CHECK(torchclip_top_k(query, 1, base, 4, 2, 3, indices, scores, &error) == TORCHCLIP_OK);
  CHECK(indices[0] == 0);
  CHECK(indices[1] == 3);
  CHECK(indices[2] == 2);
  CHECK(scores[0] == 1);
  CHECK(torchclip_top_k(query, 1, base, 4, 2, 5, indices, scores, &error) == TORCHCLIP_E_ARGUMENT);
  float matrix[4];
  CHECK(torchclip_similarity(query, 1, base, 4, 2, matrix, &error) == TORCHCLIP_OK);
  CHECK(std::abs(matrix[2] - 0.6f) < 1e-6f);
  CHECK(torchclip_similarity(nullptr, 1, base, 4, 2, matrix, &error) == TORCHCLIP_E_ARGUMENT);
}

// The following are refused before anything is read or written.

TEST_CASE("numbers of threads outside of their range are refused") {
  torchclip_error error{};
  for (const std::int32_t threads : {-7, -1, 1025, INT32_MIN, INT32_MAX}) {
    CAPTURE(threads);
    const torchclip_options options{"cpu", "fp32", threads, 0, 0};
    CHECK(torchclip_open(artifact(), &options, &error) == nullptr);
    CHECK(not_refused(error.status, error, "threads") == "");
  }
}

TEST_CASE("numbers of rows that are not positive or overflow are refused") {
  auto clip = open_artifact();
  auto* engine = clip.get();
  torchclip_error error{};
  std::uint8_t pixels[3] = {};
  float out[4] = {};
  std::int32_t ids[4] = {};
  const char* texts[] = {"a", nullptr};
  for (const std::int64_t n : {std::int64_t{0}, std::int64_t{-1}, INT64_MIN, INT64_MAX, INT64_MAX / 4}) {
    CAPTURE(n);
    CHECK(not_refused(torchclip_encode_pixels(engine, pixels, n, out, 1, &error), error, "rows") == "");
    CHECK(not_refused(torchclip_encode_pooled(engine, pixels, n, out, 0, &error), error, "rows") == "");
    CHECK(not_refused(torchclip_encode_tokens(engine, ids, n, 4, out, 1, &error), error, "rows") == "");
    CHECK(not_refused(torchclip_tokenize(engine, texts, n, 1, ids, &error), error, "rows") == "");
    CHECK(not_refused(torchclip_encode_texts(engine, texts, n, 1, out, 1, &error), error, "rows") == "");
    CHECK(not_refused(torchclip_similarity(out, n, out, 1, 2, out, &error), error, "a_rows") == "");
    CHECK(not_refused(torchclip_similarity(out, 1, out, n, 2, out, &error), error, "b_rows") == "");
    CHECK(not_refused(torchclip_top_k(out, n, out, 2, 2, 1, ids, out, &error), error, "query_rows") == "");
    CHECK(not_refused(torchclip_top_k(out, 1, out, n, 2, 1, ids, out, &error), error, "base_rows") == "");
  }
}

TEST_CASE("sizes outside of their ranges are refused") {
  auto clip = open_artifact();
  auto* engine = clip.get();
  torchclip_error error{};
  std::uint8_t pixels[3] = {};
  float out[4] = {};
  std::int32_t ids[4] = {};
  for (const std::int32_t n : {0, -1, INT32_MIN, INT32_MAX}) {
    CAPTURE(n);
    CHECK(not_refused(torchclip_preprocess(engine, pixels, n, 1, 3, pixels, &error), error, "width") == "");
    CHECK(not_refused(torchclip_preprocess(engine, pixels, 1, n, 3, pixels, &error), error, "height") == "");
    CHECK(not_refused(torchclip_preprocess(engine, pixels, 1, 1, n, pixels, &error), error, "channels") == "");
    CHECK(not_refused(torchclip_encode_tokens(engine, ids, 1, n, out, 1, &error), error, "length") == "");
    CHECK(not_refused(torchclip_top_k(out, 1, out, 1, n, 1, ids, out, &error), error, "dim") == "");
    CHECK(not_refused(torchclip_top_k(out, 1, out, 1, 2, n, ids, out, &error), error, "k") == "");
  }
}

TEST_CASE("NULL is refused and named") {
  auto clip = open_artifact();
  auto* engine = clip.get();
  torchclip_error error{};
  std::uint8_t pixels[3] = {};
  float out[4] = {};
  std::int32_t ids[4] = {};
  const char* texts[] = {"a", nullptr};
  CHECK(not_refused(torchclip_preprocess(engine, nullptr, 1, 1, 3, pixels, &error), error, "pixels") == "");
  CHECK(not_refused(torchclip_preprocess(nullptr, pixels, 1, 1, 3, pixels, &error), error, "engine") == "");
  CHECK(not_refused(torchclip_encode_pixels(engine, nullptr, 1, out, 1, &error), error, "batch") == "");
  CHECK(not_refused(torchclip_encode_tokens(engine, ids, 1, 4, nullptr, 1, &error), error, "out") == "");
  CHECK(not_refused(torchclip_encode_pooled(engine, pixels, 1, nullptr, 0, &error), error, "out") == "");
  CHECK(not_refused(torchclip_pooled_dim(engine, nullptr, &error), error, "pooled_dim") == "");
  CHECK(not_refused(torchclip_info(engine, nullptr, &error), error, "info") == "");
  CHECK(torchclip_encode_texts(engine, texts, 2, 1, out, 1, nullptr) == TORCHCLIP_E_ARGUMENT);
  torchclip_close(nullptr);
}

TEST_CASE("a message that is too long is cut between two characters") {
  torchclip_error error{};
  std::string lengthy = "/";
  while (lengthy.size() < 2000) lengthy += "\xe2\x82\xac";
  CHECK(torchclip_open(lengthy.c_str(), nullptr, &error) == nullptr);
  CHECK(std::strlen(error.message) < sizeof error.message);
  const std::string message = error.message;
  CHECK((message.back() & 0xC0) != 0xC0);
  CHECK(message.size() >= sizeof error.message - 4);
}
