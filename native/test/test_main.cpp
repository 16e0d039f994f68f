// The main program of every suite, compiled once:
//   SUITE [--isa=NAME] [doctest's options] [arguments of the suite]
// --isa: as if TORCHCLIP_ISA were set to NAME. Exit status: 0 where all checks hold, 77 where every test case that ran
// was skipped, otherwise 1; also 1 where no test case matches the options.
#define DOCTEST_CONFIG_IMPLEMENT
#define DOCTEST_CONFIG_NO_POSIX_SIGNALS  // The sanitizers' handlers and those of bus_guard_test stay in place.

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "check.h"

namespace {

constexpr int kSkipped = 77;
constexpr int kMostFailures = 20;  // A check in a loop that fails every time does not fill the screen.

std::vector<std::string> suite_arguments;
unsigned skipped_cases = 0;
unsigned matching_cases = 0;

class CaseCounter : public doctest::IReporter {
 public:
  explicit CaseCounter(const doctest::ContextOptions&) {}
  void test_run_end(const doctest::TestRunStats& run) override { matching_cases = run.numTestCasesPassingFilters; }

  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_case_start(const doctest::TestCaseData&) override {}
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override {}
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};
REGISTER_LISTENER("case counter", 1, CaseCounter);

void read_arguments(int count, char** arguments) {
  constexpr std::string_view kIsa = "--isa=";
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    if (argument.starts_with(kIsa)) setenv("TORCHCLIP_ISA", argument.c_str() + kIsa.size(), 1);
    if (!argument.starts_with('-')) suite_arguments.push_back(argument);
  }
}

}  // namespace

namespace torchclip::test {

const std::vector<std::string>& arguments() { return suite_arguments; }

void skip(const std::string& reason) {
  ++skipped_cases;
  MESSAGE("skipped: ", reason);
}

}  // namespace torchclip::test

int main(int count, char** arguments) {
  read_arguments(count, arguments);
  doctest::Context context;
  context.setOption("abort-after", kMostFailures);
  context.applyCommandLine(count, arguments);
  const int failed = context.run();
  if (context.shouldExit() || failed != 0) return failed;
  if (matching_cases == 0) return 1;
  return skipped_cases == matching_cases ? kSkipped : 0;
}
