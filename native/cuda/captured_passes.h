// The captured passes of a device: when a pass is captured, when it is replayed, and what happens where a capture is
// refused. Nothing here knows CUDA; a device gives its own way to capture.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "device.h"

namespace torchclip::cuda {

// A captured pass.
class Graph {
 public:
  Graph() = default;
  virtual ~Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  virtual void replay() = 0;
};

// How a device captures passes.
class GraphCapturer {
 public:
  virtual ~GraphCapturer() = default;
  // Begins a new memory pool, which the passes that are captured from now on share. A pool ends with its last pass:
  // libtorch's allocator refuses another capture into it.
  virtual void new_pool() = 0;
  // Captures the launches of `pass`, without running them. Throws if the device refuses.
  virtual std::unique_ptr<Graph> capture(const std::function<void()>& pass) = 0;
};

class CapturedPasses {
 public:
  static constexpr std::size_t kMost = 256;  // Captured passes that are kept; beyond, the one unused for longest goes.
  static constexpr int kMostMoves = 8;       // Captures that may end because memory moved, before no more are tried.

  // `capturer` must outlive the passes. Unless `enabled`, every pass runs uncaptured.
  CapturedPasses(GraphCapturer& capturer, bool enabled) : capturer_(capturer), enabled_(enabled) {}

  // Runs `pass`, whose launches depend on `key` only: uncaptured the first time, since then memory grows and GEMMs are
  // timed, captured and replayed the second time, and replayed from then on. If the device refuses a capture, this and
  // all later passes run uncaptured, and counts() says so: libtorch's allocator may be left in the middle of it.
  void run(const std::string& key, const std::function<void()>& pass);
  // Drops the captured passes, because memory that they use has moved.
  void invalidate() noexcept;

  bool capturing() const { return capturing_; }
  const GraphCounts& counts() const { return counts_; }

 private:
  struct Pass {
    std::unique_ptr<Graph> graph;
    std::uint64_t used = 0;
    bool seen = false;
  };

  void capture(const std::string& key, const std::function<void()>& pass);
  void refuse(const std::string& problem);
  void drop_oldest();

  GraphCapturer& capturer_;
  bool enabled_, capturing_ = false;
  bool moved_ = false;  // Whether memory moved during the capture in progress.
  int moves_ = 0;
  std::map<std::string, Pass> passes_;
  std::size_t graphs_ = 0;  // How many of the passes have a graph: with the last of them the pool ends.
  std::uint64_t clock_ = 0;
  GraphCounts counts_;
};

}  // namespace torchclip::cuda
