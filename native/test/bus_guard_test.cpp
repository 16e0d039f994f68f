// A mapped file that is shortened: the read goes on with zeros and is reported; every other SIGBUS goes to whoever was
// there before. What ends a process is tried in a child.
#include "base/bus_guard.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csetjmp>
#include <csignal>
#include <memory>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"
#include "check.h"
#include "files.h"

using namespace torchclip::core;

namespace {

constexpr std::size_t kPage = 4096, kPages = 8;

struct Shrinking {
  torchclip::test::TemporaryFile file;
  std::shared_ptr<const File> reading;
  Shrinking() {
    file.write(std::string(kPage * kPages, 'x'));
    reading = std::make_shared<const File>(file.path(), kIndexFile);
  }
  void shorten(std::size_t bytes) const { CHECK(truncate(file.path().c_str(), static_cast<off_t>(bytes)) == 0); }
};

char read_at(const char* data, std::size_t i) { return *static_cast<const volatile char*>(data + i); }

void test_shortened() {
  const Shrinking s;
  const MappedFile mapped(s.reading, kPage * kPages);
  CHECK(mapped.intact() && read_at(mapped.data(), kPage * 7) == 'x');
  s.shorten(kPage * 2);
  CHECK(read_at(mapped.data(), kPage * 5) == 0 && read_at(mapped.data(), kPage * 7 + 9) == 0);
  CHECK(read_at(mapped.data(), kPage) == 'x');
  CHECK(read_at(mapped.data(), kPage * 2) == 0);  // a second fault, before the first
  CHECK(!mapped.intact());
  s.shorten(kPage * kPages);
  CHECK(!mapped.intact());  // what was read is not known any more
}

// The rest of a page behind the end reads as zeros without a fault.
void test_shortened_inside_a_page() {
  const Shrinking s;
  const MappedFile mapped(s.reading, kPage * kPages);
  s.shorten(kPage * kPages - 100);
  CHECK(read_at(mapped.data(), kPage * kPages - 1) == 0 && !mapped.intact());
}

void test_many_threads() {
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

void test_table() {
  const Shrinking s;
  std::vector<std::unique_ptr<BusGuard>> guards;
  for (int i = 0; i < BusGuard::kRegions; ++i) guards.push_back(std::make_unique<BusGuard>(&s, kPage));
  CHECK(torchclip::test::status_of<Error>([&] { BusGuard more(&s, kPage); }) == TORCHCLIP_E_BUSY);
  guards.pop_back();
  const BusGuard again(&s, kPage);
  const BusGuard nothing(nullptr, 0);
  CHECK(!again.faulted() && !nothing.faulted());
}

sigjmp_buf back;
volatile sig_atomic_t seen = 0;

void count_simple(int) { seen = seen + 1; }
void leave(int signal, siginfo_t* info, void*) {
  seen = signal == SIGBUS && info->si_addr != nullptr ? 1 : -1;
  siglongjmp(back, 1);
}

void before(int flags, void (*simple)(int), void (*full)(int, siginfo_t*, void*) = nullptr) {
  struct sigaction action {};
  action.sa_flags = flags | (full ? SA_SIGINFO : 0);
  if (full) {
    action.sa_sigaction = full;
  } else {
    action.sa_handler = simple;
  }
  sigaction(SIGBUS, &action, nullptr);
}

// A mapped page without a file behind it, which nobody guards.
const char* unguarded(const Shrinking& s) {
  void* mapped = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, s.reading->descriptor(), 0);
  s.shorten(0);
  return static_cast<const char*>(mapped);
}

// How a child ends that has `handler` in place before the first region is guarded, then does `work`.
template <typename Handler, typename Work>
int ends(Handler&& handler, Work&& work) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
    handler();
    {
      const Shrinking guarded;
      const MappedFile mapped(guarded.reading, kPage * kPages);
      guarded.shorten(0);
      if (read_at(mapped.data(), 0) != 0 || mapped.intact()) _exit(90);
      work();
    }
    _exit(torchclip::test::failures() ? 91 : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void test_chain() {
  const Shrinking s;
  const auto fault = [] {
    const Shrinking other;
    read_at(unguarded(other), 0);
  };
  const auto send = [] { raise(SIGBUS); };
  const auto plain = [] { before(0, SIG_DFL); };
  const auto ignored = [] { before(0, SIG_IGN); };
  CHECK(ends(plain, [] {}) == 0);
  CHECK(ends(plain, fault) == -SIGBUS);
  CHECK(ends(plain, send) == -SIGBUS);
  CHECK(ends(ignored, send) == 0);
  CHECK(ends(ignored, fault) == -SIGBUS);
  const auto sent_twice = [] {
    raise(SIGBUS);
    raise(SIGBUS);
    CHECK(seen == 2);
  };
  CHECK(ends([] { before(0, count_simple); }, sent_twice) == 0);
  CHECK(ends([] { before(SA_RESETHAND, count_simple); }, sent_twice) == -SIGBUS);
  CHECK(ends([] { before(0, nullptr, leave); },
             [&] {
               const Shrinking other;
               if (sigsetjmp(back, 1) == 0) read_at(unguarded(other), 0);
               CHECK(seen == 1);
             }) == 0);
}

// Threads of other libraries may have every signal blocked.
void test_blocked() {
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

}  // namespace

int main() {
  test_chain();  // first: its children install the handler after their own
  test_shortened();
  test_shortened_inside_a_page();
  test_many_threads();
  test_table();
  test_blocked();
  return torchclip::test::failures();
}
