#include "captured_passes.h"

#include <exception>
#include <utility>

namespace torchclip::cuda {

void CapturedPasses::run(const std::string& key, const std::function<void()>& pass) {
  if (!enabled_) return pass();
  auto& known = passes_[key];
  known.used = ++clock_;
  if (known.graph) {
    ++counts_.replayed;
    return known.graph->replay();
  }
  const bool again = std::exchange(known.seen, true);
  if (passes_.size() > kMost) drop_oldest();
  if (again) {
    capture(key, pass);
  } else {
    pass();
  }
}

void CapturedPasses::invalidate() noexcept {
  moved_ = true;
  passes_.clear();
  // While a pass is captured, it keeps the pool.
  if (graphs_ > 0 && !capturing_) capturer_.new_pool();
  graphs_ = 0;
}

void CapturedPasses::capture(const std::string& key, const std::function<void()>& pass) {
  std::unique_ptr<Graph> graph;
  std::string problem;
  moved_ = false;
  capturing_ = true;
  try {
    graph = capturer_.capture(pass);
  } catch (const std::exception& e) {
    problem = e.what();
  }
  capturing_ = false;
  if (!graph) {
    enabled_ = false;
    passes_.clear();
    graphs_ = 0;
    refuse(problem);
    return pass();
  }
  if (moved_) {
    graph = nullptr;
    capturer_.new_pool();
    refuse("memory moved while a pass was captured");
    enabled_ = ++moves_ < kMostMoves;
    return pass();
  }
  graph->replay();
  ++counts_.captured;
  ++counts_.replayed;
  ++graphs_;
  passes_[key].graph = std::move(graph);
}

void CapturedPasses::refuse(const std::string& problem) {
  ++counts_.refused;
  counts_.problem = problem.empty() ? "the capture failed" : problem;
}

void CapturedPasses::drop_oldest() {
  auto oldest = passes_.begin();
  for (auto at = passes_.begin(); at != passes_.end(); ++at) {
    if (at->second.used < oldest->second.used) oldest = at;
  }
  const bool had_graph = oldest->second.graph != nullptr;
  passes_.erase(oldest);
  if (had_graph && --graphs_ == 0) capturer_.new_pool();
}

}  // namespace torchclip::cuda
