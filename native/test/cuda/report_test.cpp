// The file of results that scripts/gpu-check writes.
#include "gpu_check/report.h"

#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "check.h"

using torchclip::core::Json;
using torchclip::gpu_check::Report;
using torchclip::gpu_check::Row;

namespace {

// A file that is removed at the end of the test.
struct File {
  File() { std::remove(path.c_str()); }
  ~File() { std::remove(path.c_str()); }
  std::vector<Json> rows() const {
    std::ifstream in(path);
    std::vector<Json> rows;
    for (std::string line; std::getline(in, line);) rows.push_back(Json::parse(line));
    return rows;
  }
  const std::string path = "report_test.jsonl";
};

}  // namespace

TEST_CASE("each row is a line of JSON that is in the file at once") {
  const File file;
  Report report(file.path);
  report.add(
      Row("speed").text("model", "a \"quoted\"\\name\n").number("batch", std::int64_t{3}).flag("captured", true));
  REQUIRE(file.rows().size() == 1);
  CHECK(file.rows()[0]["stage"].text() == "speed");
  CHECK(file.rows()[0]["model"].text() == "a \"quoted\"\\name ");
  CHECK(file.rows()[0]["batch"].number() == 3);
  report.add(Row("speed").number("share", 0.25));
  REQUIRE(file.rows().size() == 2);
  CHECK(file.rows()[1]["share"].number() == 0.25);
}

TEST_CASE("rows are appended to those of earlier runs") {
  const File file;
  Report(file.path).add(Row("build"));
  Report(file.path).add(Row("model"));
  CHECK(file.rows().size() == 2);
}

TEST_CASE("what is no number is null, and fails every expectation") {
  const File file;
  Report report(file.path);
  report.add(Row("accuracy").number("cosine", NAN).number("difference", INFINITY));
  REQUIRE(file.rows().size() == 1);
  const double cosine = NAN;
  report.expect(cosine >= 0.999, "accuracy", "the cosine");
  report.expect(1.0 >= 0.999, "accuracy", "another cosine");
  CHECK(report.expectations() == 2);
  CHECK(report.failures() == 1);
  REQUIRE(file.rows().size() == 2);
  CHECK(file.rows()[1]["failed"].text() == "the cosine");
}
