#include "cudnn_plans.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace torchclip::cuda::cudnn {
namespace {

constexpr double kQuickGeluBeta = 1.702;   // x sigmoid(1.702 x) is cuDNN's swish with this beta.
constexpr std::int64_t kAlignment = 16;    // bytes, of all tensors
constexpr std::int64_t kMostConfigs = 32;  // More than the heuristics give.

void check(int status, const char* what) {
  if (status != kSuccess) {
    throw std::runtime_error(std::string(what) + ": cuDNN answers " + std::to_string(status));
  }
}

Number number_of(DType dtype) { return dtype == DType::f16 ? kHalf : kBfloat16; }

// Makes the operations of a graph, and keeps what they are made of in `parts`.
class GraphMaker {
 public:
  GraphMaker(const Functions& functions, const ActivatedGemm& gemm, std::vector<Object>& parts)
      : functions_(functions), gemm_(gemm), parts_(parts) {}

  // Returns the graph.
  Descriptor make(Handle handle) {
    const auto& p = gemm_.product;
    const Number number = number_of(p.dtype);
    const std::int64_t rows = p.rows, inner = p.inner, columns = p.columns;
    const auto a = tensor(kA, {1, rows, inner}, {rows * inner, inner, 1}, number);
    // Row-major [columns, inner] is column-major [inner, columns].
    const auto weights = tensor(kWeights, {1, inner, columns}, {inner * columns, 1, inner}, number);
    const auto bias = tensor(kBias, {1, 1, columns}, {columns, columns, 1}, kFloat);
    const auto out = result(kOut, number);
    const auto product = result(kProduct, kFloat), sum = result(kSum, kFloat);
    const std::array<Descriptor, 3> operations{multiply(a, weights, product), pointwise(kAdd, product, bias, sum),
                                               pointwise(activation(), sum, nullptr, out)};
    Object graph(functions_, Kind::graph);
    if (handle) graph.set(Name::graph_handle, Type::handle, handle);
    graph.set(Name::graph_operations, Type::descriptor, std::ssize(operations), operations.data());
    return keep(std::move(graph));
  }

 private:
  using Sizes = std::array<std::int64_t, 3>;

  Descriptor keep(Object object) {
    object.finalize();
    parts_.push_back(std::move(object));
    return parts_.back().get();
  }

  Descriptor tensor(TensorId id, const Sizes& sizes, const Sizes& strides, Number number) {
    Object t(functions_, Kind::tensor);
    t.set(Name::tensor_id, Type::int64, std::int64_t{id});
    t.set(Name::tensor_dtype, Type::dtype, number);
    t.set(Name::tensor_sizes, Type::int64, std::ssize(sizes), sizes.data());
    t.set(Name::tensor_strides, Type::int64, std::ssize(strides), strides.data());
    t.set(Name::tensor_alignment, Type::int64, kAlignment);
    t.set(Name::tensor_is_virtual, Type::boolean, id > kOut);
    return keep(std::move(t));
  }

  // [rows, columns]
  Descriptor result(TensorId id, Number number) {
    const auto& p = gemm_.product;
    return tensor(id, {1, p.rows, p.columns}, {p.rows * p.columns, p.columns, 1}, number);
  }

  Descriptor multiply(Descriptor a, Descriptor weights, Descriptor product) {
    Object matmul(functions_, Kind::matmul);
    matmul.set(Name::matmul_precision, Type::dtype, kFloat);
    const auto description = keep(std::move(matmul));
    Object operation(functions_, Kind::matmul_operation);
    operation.set(Name::matmul_a, Type::descriptor, a);
    operation.set(Name::matmul_b, Type::descriptor, weights);
    operation.set(Name::matmul_c, Type::descriptor, product);
    operation.set(Name::matmul_operation, Type::descriptor, description);
    return keep(std::move(operation));
  }

  // y = mode(x, b); b may be null.
  Descriptor pointwise(Pointwise mode, Descriptor x, Descriptor b, Descriptor y) {
    Object description(functions_, Kind::pointwise);
    description.set(Name::pointwise_mode, Type::pointwise_mode, mode);
    description.set(Name::pointwise_precision, Type::dtype, kFloat);
    if (mode == kSwish) description.set(Name::swish_beta, Type::real, kQuickGeluBeta);
    const auto described = keep(std::move(description));
    Object operation(functions_, Kind::pointwise_operation);
    operation.set(Name::pointwise_operation, Type::descriptor, described);
    operation.set(Name::pointwise_x, Type::descriptor, x);
    if (b) operation.set(Name::pointwise_b, Type::descriptor, b);
    operation.set(Name::pointwise_y, Type::descriptor, y);
    return keep(std::move(operation));
  }

  Pointwise activation() const {
    if (gemm_.activation == core::Activation::quick_gelu) return kSwish;
    if (gemm_.activation == core::Activation::gelu) return kGelu;
    throw std::runtime_error("an activation that cuDNN is not asked for");
  }

  const Functions& functions_;
  const ActivatedGemm& gemm_;
  std::vector<Object>& parts_;
};

// The engine configurations of a graph, the most promising one first.
std::vector<Object> configs_of(const Functions& functions, Descriptor graph, Descriptor device) {
  Object heuristics(functions, Kind::heuristics);
  heuristics.set(Name::heuristics_graph, Type::descriptor, graph);
  heuristics.set(Name::heuristics_mode, Type::heuristics_mode, kHeuristicsByModel);
  if (device) heuristics.set(Name::heuristics_device, Type::descriptor, device);
  heuristics.finalize();
  std::vector<Object> configs;
  std::vector<Descriptor> room;
  for (std::int64_t i = 0; i < kMostConfigs; ++i) {
    room.push_back(configs.emplace_back(functions, Kind::engine_config).get());
  }
  std::int64_t count = 0;
  check(functions.get_attribute(heuristics.get(), Name::heuristics_results, Type::descriptor, kMostConfigs, &count,
                                room.data()),
        "the engines of a graph");
  // Only the first `count` descriptors were written.
  while (static_cast<std::int64_t>(configs.size()) > std::max<std::int64_t>(count, 0)) configs.pop_back();
  return configs;
}

std::int64_t engine_of(const Functions& functions, const Object& config) {
  const Object engine(functions, Kind::engine);
  Descriptor descriptor = engine.get();
  std::int64_t count = 0, index = -1;
  functions.get_attribute(config.get(), Name::config_engine, Type::descriptor, 1, &count, &descriptor);
  functions.get_attribute(descriptor, Name::engine_index, Type::int64, 1, &count, &index);
  return index;
}

Object device_of(const Functions& functions, const std::string& json) {
  Object device(functions, Kind::device);
  device.set(Name::device_json, Type::text, static_cast<std::int64_t>(json.size()), json.data());
  device.finalize();
  return device;
}

}  // namespace

Object::Object(const Functions& functions, Kind kind) : functions_(&functions) {
  check(functions.create_descriptor(kind, &descriptor_), "a descriptor");
}

Object::~Object() {
  if (descriptor_) functions_->destroy_descriptor(descriptor_);
}

Object::Object(Object&& other) noexcept
    : functions_(other.functions_), descriptor_(std::exchange(other.descriptor_, nullptr)) {}

void Object::set(Name name, Type type, std::int64_t count, const void* values) {
  check(functions_->set_attribute(descriptor_, name, type, count, values), "an attribute");
}

void Object::finalize() { check(functions_->finalize(descriptor_), "a descriptor's end"); }

Plan::Plan(std::shared_ptr<const std::vector<Object>> graph, Object config, Object plan, std::int64_t workspace,
           std::int64_t engine)
    : graph_(std::move(graph)),
      config_(std::move(config)),
      plan_(std::move(plan)),
      workspace_(workspace),
      engine_(engine) {}

bool Plan::execute(const Functions& functions, Handle handle, const ActivatedGemm& gemm, void* workspace) const {
  const auto& p = gemm.product;
  constexpr std::array<std::int64_t, 4> kIds{kA, kWeights, kBias, kOut};
  const std::array<const void*, 4> pointers{p.a, p.weights, gemm.bias, p.out};
  try {
    Object variants(functions, Kind::variants);
    variants.set(Name::variant_ids, Type::int64, std::ssize(kIds), kIds.data());
    variants.set(Name::variant_pointers, Type::pointer, std::ssize(pointers), pointers.data());
    variants.set(Name::variant_workspace, Type::pointer, workspace);
    variants.finalize();
    return functions.execute(handle, plan_.get(), variants.get()) == kSuccess;
  } catch (const std::runtime_error&) {
    return false;
  }
}

std::vector<Plan> plans_for(const Functions& functions, const Target& target, const ActivatedGemm& gemm, int most,
                            std::int64_t most_workspace) {
  auto parts = std::make_shared<std::vector<Object>>();
  Descriptor device = nullptr;
  if (!target.handle) {
    parts->push_back(device_of(functions, target.json));
    device = parts->back().get();
  }
  const auto graph = GraphMaker(functions, gemm, *parts).make(target.handle);
  std::vector<Plan> plans;
  for (auto& config : configs_of(functions, graph, device)) {
    if (static_cast<int>(plans.size()) >= most) break;
    try {
      Object plan(functions, Kind::plan);
      if (target.handle) plan.set(Name::plan_handle, Type::handle, target.handle);
      if (device) plan.set(Name::plan_device, Type::descriptor, device);
      plan.set(Name::plan_config, Type::descriptor, config.get());
      plan.finalize();
      std::int64_t count = 0, workspace = 0;
      check(functions.get_attribute(plan.get(), Name::plan_workspace, Type::int64, 1, &count, &workspace),
            "the workspace of a plan");
      if (workspace > most_workspace) continue;
      const auto engine = engine_of(functions, config);
      plans.emplace_back(parts, std::move(config), std::move(plan), workspace, engine);
    } catch (const std::runtime_error&) {
      // An engine that the heuristics name may still refuse the graph; the next one may take it.
    }
  }
  return plans;
}

}  // namespace torchclip::cuda::cudnn
