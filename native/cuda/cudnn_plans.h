// cuDNN's kernels for activation(a weights^T + bias): an operation graph of three operations, and the plans that its
// heuristics find for it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cudnn_library.h"
#include "device.h"

namespace torchclip::cuda::cudnn {

// A descriptor of cuDNN. Its functions throw std::runtime_error if cuDNN refuses.
class Object {
 public:
  Object(const Functions& functions, Kind kind);
  ~Object();
  Object(Object&& other) noexcept;
  Object& operator=(Object&&) = delete;

  Descriptor get() const { return descriptor_; }
  void set(Name name, Type type, std::int64_t count, const void* values);
  template <typename Value>
  void set(Name name, Type type, const Value& value) {
    set(name, type, 1, &value);
  }
  void finalize();

 private:
  const Functions* functions_;
  Descriptor descriptor_ = nullptr;
};

// The device that plans are made for: that of a handle, or one that is not there but described, as cuDNN 9.8 and later
// do it (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION).
struct Target {
  Handle handle = nullptr;
  std::string json;
};

// The names of the graph's tensors.
enum TensorId : std::int64_t { kA = 1, kWeights, kBias, kOut, kProduct, kSum };

// A plan, with what it was made from: the graph and a configuration of an engine.
class Plan {
 public:
  Plan(std::shared_ptr<const std::vector<Object>> graph, Object config, Object plan, std::int64_t workspace,
       std::int64_t engine);

  std::int64_t workspace_bytes() const { return workspace_; }
  std::int64_t engine() const { return engine_; }
  // Queues the GEMM on the handle's stream; false if cuDNN refuses. workspace: workspace_bytes() on the device.
  bool execute(const Functions& functions, Handle handle, const ActivatedGemm& gemm, void* workspace) const;

 private:
  std::shared_ptr<const std::vector<Object>> graph_;
  Object config_, plan_;
  std::int64_t workspace_, engine_;
};

// At most `most` plans for a shape, in the order of cuDNN's heuristics, that need at most `most_workspace` bytes each.
// QuickGELU and exact GELU alone, in 16 bits. Throws std::runtime_error if cuDNN does not know such a graph.
std::vector<Plan> plans_for(const Functions& functions, const Target& target, const ActivatedGemm& gemm, int most,
                            std::int64_t most_workspace);

}  // namespace torchclip::cuda::cudnn
