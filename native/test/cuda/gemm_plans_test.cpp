// How the plan of a GEMM is chosen among the proposals of a library, over a model of one.
#include "gemm_plans.h"

#include <set>
#include <stdexcept>
#include <vector>

#include "check.h"

using namespace torchclip::cuda;

namespace {

class FakeLibrary final : public GemmLibrary<int> {
 public:
  std::vector<int> propose(const GemmArgs&, bool epilogue) override {
    ++proposed;
    if (epilogue && !has_epilogue) return {};
    return proposals;
  }
  bool accepts(const GemmArgs& args, bool, const int&) override { return !refused.contains(args.rows); }
  std::vector<GemmTrial> try_out(const GemmArgs&, bool, const std::vector<int>&) override { return trials; }

  bool has_epilogue = true;
  std::vector<int> proposals{10, 11, 12};
  std::vector<GemmTrial> trials{{true, true, 3}, {true, true, 1}, {true, true, 2}};
  std::set<std::int64_t> refused;  // Row counts for which no other shape's algorithm serves.
  int proposed = 0;
};

GemmArgs shape(std::int64_t rows, std::int64_t columns = 768) {
  static const float bias = 0;
  GemmArgs args;
  args.rows = rows;
  args.inner = 768;
  args.columns = args.stride = columns;
  args.bias = &bias;
  return args;
}

}  // namespace

TEST_CASE("the fastest proposal is chosen") {
  FakeLibrary library;
  GemmPlans<int> plans(library);
  CHECK(plans.choose(shape(100), 256, true).algorithm == 11);
  CHECK(plans.timed() == 1);
}

TEST_CASE("a proposal whose result is wrong, or that fails, is never chosen") {
  FakeLibrary library;
  library.trials = {{true, true, 3}, {true, false, 1}, {false, false, 0}};
  GemmPlans<int> plans(library);
  CHECK(plans.choose(shape(100), 256, true).algorithm == 10);
}

TEST_CASE("without time or room for trials the first proposal is taken") {
  FakeLibrary library;
  GemmPlans<int> untimed(library);
  CHECK(untimed.choose(shape(100), 256, false).algorithm == 10);
  CHECK(untimed.timed() == 0);
  library.trials = {};
  GemmPlans<int> without_room(library);
  CHECK(without_room.choose(shape(100), 256, true).algorithm == 10);
}

TEST_CASE("where the library cannot apply the epilogue, it is left to a kernel") {
  FakeLibrary library;
  library.has_epilogue = false;
  GemmPlans<int> plans(library);
  const auto plan = plans.choose(shape(100), 256, true);
  CHECK(!plan.epilogue);
  CHECK(plan.algorithm == 11);
}

TEST_CASE("a shape that the library cannot compute at all is an error that names it") {
  FakeLibrary library;
  library.proposals = {};
  GemmPlans<int> plans(library);
  std::string message;
  try {
    plans.choose(shape(100), 256, true);
  } catch (const std::runtime_error& error) {
    message = error.what();
  }
  CHECK(message.find("100 x 768") != std::string::npos);
}

TEST_CASE("batches of every size are timed a few times: shapes of one cell share a plan") {
  FakeLibrary library;
  GemmPlans<int> plans(library);
  for (std::int64_t rows = 65; rows <= 16896; ++rows) CHECK(plans.choose(shape(rows), 256, true).algorithm == 11);
  CHECK(plans.timed() <= 66);
  CHECK(library.proposed == static_cast<int>(plans.timed()));
}

TEST_CASE("bases of every size share plans, too") {
  FakeLibrary library;
  GemmPlans<int> plans(library);
  for (std::int64_t columns = 20000; columns < 20100; ++columns) plans.choose(shape(3, columns), 256, true);
  CHECK(plans.timed() <= 2);
}

TEST_CASE("a shape that the plan of its cell does not serve gets a proposal of its own, untimed") {
  FakeLibrary library;
  library.refused = {1001};
  GemmPlans<int> plans(library);
  CHECK(plans.choose(shape(1000), 256, true).algorithm == 11);
  CHECK(plans.choose(shape(1001), 256, true).algorithm == 10);
  CHECK(plans.timed() == 1);
}

TEST_CASE("a cell is at most an eighth larger than a size in it") {
  for (std::int64_t n = 1; n < 40000; ++n) {
    const auto cell = plan_cell(n);
    CHECK(cell >= n);
    CHECK(cell - n <= n / 8);
    CHECK(plan_cell(cell) == cell);
  }
}
