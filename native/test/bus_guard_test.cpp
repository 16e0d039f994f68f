// A mapped file that is shortened: the read goes on with zeros and is reported; every other SIGBUS goes to whoever was
// there before. What ends a process is tried in a child, which reports what it finds by its exit status.
#include "base/platform_bus_guard.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csetjmp>
#include <csignal>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/mapped_file.h"
#include "check.h"
#include "files.h"

using namespace torchclip::core;
using torchclip::test::outcome_of;

namespace {

constexpr std::size_t kPage = 4096, kPages = 8;

struct Shrinking {
  torchclip::test::TemporaryFile file;
  std::shared_ptr<const File> reading;
  Shrinking() {
    file.write(std::string(kPage * kPages, 'x'));
    reading = std::make_shared<const File>(file.path(), kIndexFile);
  }
  void shorten(std::size_t bytes) const {
    if (truncate(file.path().c_str(), static_cast<off_t>(bytes)) != 0) throw std::runtime_error("truncate failed");
  }
};

char read_at(const char* data, std::size_t i) { return *static_cast<const volatile char*>(data + i); }

sigjmp_buf back;
volatile sig_atomic_t seen = 0;

void count_simple(int) { seen = seen + 1; }
void leave(int signal, siginfo_t* info, void*) {
  seen = signal == SIGBUS && info->si_addr != nullptr ? 1 : -1;
  siglongjmp(back, 1);
}

void set_handler(unsigned flags, void (*simple)(int), void (*full)(int, siginfo_t*, void*) = nullptr) {
  struct sigaction action {};
  action.sa_flags = static_cast<int>(flags | (full ? SA_SIGINFO : 0u));  // SA_RESETHAND is its highest bit
  if (full) {
    action.sa_sigaction = full;
  } else {
    action.sa_handler = simple;
  }
  sigaction(SIGBUS, &action, nullptr);
}

void default_handler() { set_handler(0, SIG_DFL); }
void ignoring_handler() { set_handler(0, SIG_IGN); }

// A mapped page without a file behind it, which nobody guards.
const char* unguarded(const Shrinking& s) {
  void* mapped = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, s.reading->descriptor(), 0);
  s.shorten(0);
  return static_cast<const char*>(mapped);
}

void fault() {
  const Shrinking other;
  read_at(unguarded(other), 0);
}
void send() { raise(SIGBUS); }

// How a child says what it found wrong; doctest's checks count in the process that makes them alone.
enum Child { kFine = 0, kGuardFailed = 90, kCheckFailed = 91 };

// How a child ends that has `handler` in place before the first region is guarded, then does `work`, which says
// whether what it saw is right: an exit status, or the number of a signal, negated.
template <typename Handler, typename Work>
int ends(Handler&& handler, Work&& work) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    handler();
    bool right;
    {
      const Shrinking guarded;
      const MappedFile mapped(guarded.reading, kPage * kPages);
      guarded.shorten(0);
      if (read_at(mapped.data(), 0) != 0 || mapped.intact()) _exit(kGuardFailed);
      right = work();
    }
    _exit(right ? kFine : kCheckFailed);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

template <typename Work>
auto without_check(Work work) {
  return [work] {
    work();
    return true;
  };
}

bool sent_twice_and_counted() {
  raise(SIGBUS);
  raise(SIGBUS);
  return seen == 2;
}

}  // namespace

// First in this file: where all cases run in one process, its children install the handler after their own.
TEST_CASE("a SIGBUS that is not ours goes to the handler that was there before") {
  CHECK(ends(default_handler, without_check([] {})) == kFine);
  CHECK(ends(default_handler, without_check(fault)) == -SIGBUS);
  CHECK(ends(default_handler, without_check(send)) == -SIGBUS);
  CHECK(ends(ignoring_handler, without_check(send)) == kFine);
  CHECK(ends(ignoring_handler, without_check(fault)) == -SIGBUS);
  CHECK(ends([] { set_handler(0, count_simple); }, sent_twice_and_counted) == kFine);
  CHECK(ends([] { set_handler(SA_RESETHAND, count_simple); }, sent_twice_and_counted) == -SIGBUS);
  const auto left_by_a_jump = [] {
    const Shrinking other;
    if (sigsetjmp(back, 1) == 0) read_at(unguarded(other), 0);
    return seen == 1;
  };
  CHECK(ends([] { set_handler(0, nullptr, leave); }, left_by_a_jump) == kFine);
}

TEST_CASE("what lies behind a file's new end reads as zeros, and the mapping is not intact") {
  const Shrinking s;
  const MappedFile mapped(s.reading, kPage * kPages);
  CHECK(mapped.intact());
  CHECK(read_at(mapped.data(), kPage * 7) == 'x');
  s.shorten(kPage * 2);
  CHECK(read_at(mapped.data(), kPage * 5) == 0);
  CHECK(read_at(mapped.data(), kPage * 7 + 9) == 0);
  CHECK(read_at(mapped.data(), kPage) == 'x');
  CHECK(read_at(mapped.data(), kPage * 2) == 0);  // a second fault, before the first
  CHECK(!mapped.intact());
  s.shorten(kPage * kPages);
  CHECK(!mapped.intact());  // what was read is not known any more
}

TEST_CASE("a file that ends within its last page reads as zeros without a fault, and is not intact") {
  const Shrinking s;
  const MappedFile mapped(s.reading, kPage * kPages);
  s.shorten(kPage * kPages - 100);
  CHECK(read_at(mapped.data(), kPage * kPages - 1) == 0);
  CHECK(!mapped.intact());
}

TEST_CASE("many threads may fault at once") {
  const Shrinking s;
  const MappedFile mapped(s.reading, kPage * kPages);
  s.shorten(0);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (std::size_t page = kPages; page-- > 0;) CHECK(read_at(mapped.data(), page * kPage) == 0);
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(!mapped.intact());
}

TEST_CASE("a full table is busy until a region is released") {
  const Shrinking s;
  std::vector<std::unique_ptr<BusGuard>> guards;
  for (int i = 0; i < BusGuard::kRegions; ++i) guards.push_back(std::make_unique<BusGuard>(&s, kPage));
  CHECK(outcome_of([&] { BusGuard more(&s, kPage); }) == TORCHCLIP_E_BUSY);
  guards.pop_back();
  const BusGuard again(&s, kPage);
  const BusGuard nothing(nullptr, 0);
  CHECK(!again.faulted());
  CHECK(!nothing.faulted());
}

// Threads of other libraries may have every signal blocked.
TEST_CASE("a thread that blocks all signals may read once the guard's is allowed") {
  const Shrinking s;
  const MappedFile mapped(s.reading, kPage * kPages);
  s.shorten(0);
  std::thread([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    BusGuard::allow_in_this_thread();
    CHECK(read_at(mapped.data(), 0) == 0);
  }).join();
  CHECK(!mapped.intact());
}
