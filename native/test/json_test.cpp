// JSON: what is read, and what is refused.
#include "base/json.h"

#include "check.h"

using namespace torchclip::core;
using torchclip::test::outcome_of;

TEST_CASE("values of every kind are read") {
  const auto json = Json::parse(R"({"a": [1, -2.5e3, "x\u00e9\n", true, null], "b": {"c": 3}})");
  CHECK(json["a"].items().size() == 5);
  CHECK(json["a"].items()[1].number() == -2500);
  CHECK(json["a"].items()[2].text() == "x\xc3\xa9\n");
  CHECK(json["b"]["c"].number() == 3);
}

TEST_CASE("what is missing has the value that the caller names") {
  const auto json = Json::parse(R"({"a": 1})");
  CHECK(json["none"]["deeper"].number(7) == 7);
}

TEST_CASE("broken texts are refused") {
  for (const std::string text : {"", "{", "[1,]", "\"x", "{\"a\":1} 2", "\"\\u12\""}) {
    CAPTURE(text);
    CHECK(outcome_of([&] { Json::parse(text); }) == TORCHCLIP_E_MODEL_CORRUPT);
  }
}
