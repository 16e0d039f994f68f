// How libtorch captures CUDA graphs, on the host: captured work is kept and runs when it is replayed, and memory pools
// have the life that those of libtorch's allocator have.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "captured_passes.h"
#include "platform.h"

namespace torchclip::cuda {

class HostCapturer final : public GraphCapturer {
 public:
  // Graphs are replayed on `stream`, a host::Queue; null: at once. Unless `captures`, every capture is refused.
  explicit HostCapturer(Stream stream = nullptr, bool captures = true) : stream_(stream), captures_(captures) {}

  void new_pool() override { pool_ = std::make_shared<Pool>(); }

  std::unique_ptr<Graph> capture(const std::function<void()>& pass) override {
    if (!captures_) throw std::runtime_error("the test's device captures nothing");
    if (stuck_) throw std::runtime_error("already recording to a pool");
    // As c10's create_or_incref_pool.
    if (pool_->was_used && pool_->graphs == 0) throw std::runtime_error("use_count > 0 INTERNAL ASSERT FAILED");
    auto graph = std::make_unique<HostGraph>(pool_, stream_);
    host::captured = &graph->work;
    try {
      pass();
    } catch (...) {
      host::captured = nullptr;
      stuck_ = true;  // libtorch before 2.12 believes from now on that a capture is under way
      throw;
    }
    host::captured = nullptr;
    return graph;
  }

  // Whether the allocator gives memory back to the driver: not while it believes that a capture is under way.
  bool frees_memory() const { return !stuck_; }

 private:
  struct Pool {
    int graphs = 0;
    bool was_used = false;
  };

  struct HostGraph final : Graph {
    HostGraph(std::shared_ptr<Pool> of, Stream on) : pool(std::move(of)), stream(on) {
      pool->was_used = true;
      ++pool->graphs;
    }
    ~HostGraph() override { --pool->graphs; }
    HostGraph(const HostGraph&) = delete;
    HostGraph& operator=(const HostGraph&) = delete;
    void replay() override {
      for (const auto& step : work) host::submit(stream, step);
    }

    std::shared_ptr<Pool> pool;
    Stream stream;
    std::vector<host::Work> work;
  };

  Stream stream_;
  bool captures_;
  std::shared_ptr<Pool> pool_ = std::make_shared<Pool>();
  bool stuck_ = false;
};

}  // namespace torchclip::cuda
