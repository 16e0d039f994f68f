// When passes are captured and replayed, over the host's model of libtorch's graphs and memory pools.
#include "captured_passes.h"

#include <stdexcept>
#include <string>

#include "check.h"
#include "host_graphs.h"

using namespace torchclip::cuda;

namespace {

// Passes that count how often their work is done, as a device would do it.
struct Passes {
  void run(const std::string& key = "a") {
    passes.run(key, [this] {
      ++called;
      host::submit(nullptr, [this] { ++done; });
    });
  }

  HostCapturer capturer;
  CapturedPasses passes{capturer, true};
  int called = 0;  // Times that the pass's function ran.
  int done = 0;    // Times that its work was done.
};

}  // namespace

TEST_CASE("a pass runs uncaptured once, is then captured, and is replayed from then on") {
  Passes p;
  for (int i = 1; i <= 4; ++i) {
    p.run();
    CHECK(p.done == i);
  }
  CHECK(p.called == 2);
  CHECK(p.passes.counts().captured == 1);
  CHECK(p.passes.counts().replayed == 3);
}

TEST_CASE("after memory has moved, passes are captured again: into a new pool") {
  Passes p;
  for (int round = 1; round <= 3; ++round) {
    p.run();
    p.run();
    CHECK(p.passes.counts().captured == static_cast<std::uint64_t>(round));
    p.passes.invalidate();
  }
  CHECK(p.done == 6);
  CHECK(p.passes.counts().refused == 0);
}

TEST_CASE("a capture that fails is counted and said, and later passes run without one") {
  HostCapturer capturer;
  CapturedPasses passes(capturer, true);
  bool fails = false;
  int done = 0;
  const auto pass = [&] {
    if (fails && passes.capturing()) throw std::runtime_error("an illegal call");
    host::submit(nullptr, [&] { ++done; });
  };
  passes.run("a", pass);
  fails = true;
  passes.run("a", pass);
  CHECK(done == 2);
  CHECK(passes.counts().refused == 1);
  CHECK(passes.counts().problem == "an illegal call");
  CHECK(!capturer.frees_memory());
  for (int i = 0; i < 3; ++i) passes.run("b", pass);
  CHECK(done == 5);
  CHECK(passes.counts().refused == 1);  // no further capture is tried
  CHECK(passes.counts().captured == 0);
}

TEST_CASE("a pass that moves memory while it is captured runs uncaptured, and others are captured afterwards") {
  Passes p;
  p.run("kept");
  p.run("kept");
  bool moves = false;
  const auto moving = [&] {
    if (moves && p.passes.capturing()) p.passes.invalidate();
    host::submit(nullptr, [&p] { ++p.done; });
  };
  p.passes.run("moving", moving);
  moves = true;
  p.passes.run("moving", moving);
  CHECK(p.done == 4);
  CHECK(p.passes.counts().refused == 1);
  moves = false;
  p.run("kept");
  p.run("kept");
  CHECK(p.done == 6);
  CHECK(p.passes.counts().captured == 2);
}

TEST_CASE("the passes that were not used for longest are dropped") {
  Passes p;
  constexpr int kMany = static_cast<int>(CapturedPasses::kMost) + 10;
  for (int i = 0; i < kMany; ++i) {
    p.run(std::to_string(i));
    p.run(std::to_string(i));
  }
  CHECK(p.passes.counts().captured == kMany);
  CHECK(p.passes.counts().refused == 0);
  const int called = p.called;
  p.run(std::to_string(kMany - 1));
  CHECK(p.called == called);  // still there
  p.run("0");
  CHECK(p.called == called + 1);  // dropped
}

TEST_CASE("the pool of a pass that is dropped as the only captured one is not used again") {
  Passes p;
  p.run("a");
  p.run("a");
  for (int i = 0; i < static_cast<int>(CapturedPasses::kMost); ++i) p.run(std::to_string(i));
  p.run("b");
  p.run("b");
  CHECK(p.passes.counts().captured == 2);
  CHECK(p.passes.counts().refused == 0);
}

TEST_CASE("without captures every pass runs") {
  HostCapturer capturer;
  CapturedPasses passes(capturer, false);
  int done = 0;
  for (int i = 0; i < 3; ++i) passes.run("a", [&] { ++done; });
  CHECK(done == 3);
  CHECK(passes.counts().captured == 0);
}
