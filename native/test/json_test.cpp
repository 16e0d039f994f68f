// JSON: what is read, and what is refused.
#include "base/json.h"

#include <cmath>
#include <random>

#include "base/platform_number.h"
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

TEST_CASE("numbers are read alike with and without std::from_chars") {
  const auto check_alike = [](const std::string& text) {
    CAPTURE(text);
    double expected = 7, number = 7;
    const std::size_t length = read_double(text, expected);
    CHECK(read_double_by_strtod(text, number) == length);
    CHECK((number == expected || (std::isnan(number) && std::isnan(expected))));
    CHECK(std::signbit(number) == std::signbit(expected));
  };
  for (const char* text : {"0",
                           "-0",
                           "1",
                           "-2.5e3",
                           "1.",
                           ".5",
                           "-.5e1",
                           ".",
                           "-",
                           "",
                           "+1",
                           " 1",
                           "1e",
                           "1e+",
                           "1e-x",
                           "1E+05",
                           "0x10",
                           "1,5",
                           "12abc",
                           "1e400",
                           "-1e400",
                           "1e-400",
                           "0e400",
                           "5e-324",
                           "2e-324",
                           "2.2250738585072011e-308",
                           "9007199254740993",
                           "1.7976931348623157e308",
                           "1.7976931348623159e308",
                           "inf",
                           "-Infinity",
                           "NaN",
                           "-nan",
                           "infinit",
                           "e5",
                           "--1"}) {
    check_alike(text);
  }
  std::mt19937_64 random(17);
  std::string text;
  for (int i = 0; i < 20000; ++i) {
    text.assign(1 + random() % 24, ' ');
    for (char& c : text) c = "0123456789012345678901234567899.-e+"[random() % 35];
    check_alike(text);
  }
}
