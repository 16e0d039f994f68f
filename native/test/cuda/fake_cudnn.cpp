#include "fake_cudnn.h"

#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "platform.h"
#include "reference_kernels.h"

namespace torchclip::cuda::fake_cudnn {
namespace {

using namespace cudnn;

constexpr int kRefused = 2000;
constexpr std::int64_t kManyBytes = std::int64_t{1} << 30;

Settings how;
Counts seen;
void* stream = nullptr;

struct Attribute {
  Type type;
  std::int64_t count;
  std::vector<char> bytes;
};

struct Fake {
  Kind kind;
  std::map<Name, Attribute> attributes;
  bool is_final = false;
  std::int64_t engine = -1;

  template <typename Value>
  std::vector<Value> values(Name name) const {
    const auto& bytes = attributes.at(name).bytes;
    std::vector<Value> values(bytes.size() / sizeof(Value));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  template <typename Value>
  Value value(Name name) const {
    return values<Value>(name).at(0);
  }
  const Fake& other(Name name) const { return *value<const Fake*>(name); }
};

std::set<const void*> live;

Fake& fake(Descriptor descriptor) { return *static_cast<Fake*>(descriptor); }

std::size_t size_of_type(Type type) {
  switch (type) {
    case Type::boolean:
    case Type::text:
      return 1;
    case Type::dtype:
    case Type::heuristics_mode:
    case Type::pointwise_mode:
      return 4;
    default:
      return 8;
  }
}

struct Needed {
  Name name;
  Type type;
  std::int64_t count;
};

// The attributes that a descriptor must have, as cudnn_graph.h documents them.
const std::vector<Needed>& needed_by(Kind kind) {
  static const std::map<Kind, std::vector<Needed>> needed{
      {Kind::tensor,
       {{Name::tensor_id, Type::int64, 1},
        {Name::tensor_dtype, Type::dtype, 1},
        {Name::tensor_sizes, Type::int64, 3},
        {Name::tensor_strides, Type::int64, 3},
        {Name::tensor_alignment, Type::int64, 1},
        {Name::tensor_is_virtual, Type::boolean, 1}}},
      {Kind::matmul, {{Name::matmul_precision, Type::dtype, 1}}},
      {Kind::matmul_operation,
       {{Name::matmul_a, Type::descriptor, 1},
        {Name::matmul_b, Type::descriptor, 1},
        {Name::matmul_c, Type::descriptor, 1},
        {Name::matmul_operation, Type::descriptor, 1}}},
      {Kind::pointwise, {{Name::pointwise_mode, Type::pointwise_mode, 1}, {Name::pointwise_precision, Type::dtype, 1}}},
      {Kind::pointwise_operation,
       {{Name::pointwise_operation, Type::descriptor, 1},
        {Name::pointwise_x, Type::descriptor, 1},
        {Name::pointwise_y, Type::descriptor, 1}}},
      {Kind::graph, {{Name::graph_handle, Type::handle, 1}, {Name::graph_operations, Type::descriptor, 3}}},
      {Kind::heuristics,
       {{Name::heuristics_graph, Type::descriptor, 1}, {Name::heuristics_mode, Type::heuristics_mode, 1}}},
      {Kind::plan, {{Name::plan_handle, Type::handle, 1}, {Name::plan_config, Type::descriptor, 1}}},
      {Kind::variants,
       {{Name::variant_ids, Type::int64, 4},
        {Name::variant_pointers, Type::pointer, 4},
        {Name::variant_workspace, Type::pointer, 1}}}};
  static const std::vector<Needed> none;
  const auto at = needed.find(kind);
  return at == needed.end() ? none : at->second;
}

bool is_complete(const Fake& f) {
  for (const auto& n : needed_by(f.kind)) {
    const auto at = f.attributes.find(n.name);
    if (at == f.attributes.end() || at->second.type != n.type || at->second.count != n.count) return false;
  }
  for (const auto& [name, attribute] : f.attributes) {
    if (attribute.type != Type::descriptor) continue;
    for (const auto* other : f.values<const Fake*>(name)) {
      if (!live.contains(other) || !other->is_final) return false;
    }
  }
  return true;
}

// Whether this call is one that goes well.
bool goes_well() { return seen.calls++ != how.failing_call; }

// Numbers of a tensor, in memory or between two operations.
struct Numbers {
  std::array<std::int64_t, 3> sizes{};
  std::vector<float> values;

  // A size of 1 is repeated.
  float at(std::int64_t row, std::int64_t column) const {
    const std::int64_t r = sizes[1] == 1 ? 0 : row, c = sizes[2] == 1 ? 0 : column;
    return values[static_cast<std::size_t>(r * sizes[2] + c)];
  }
};

class Execution {
 public:
  explicit Execution(const Fake& variants) {
    const auto ids = variants.values<std::int64_t>(Name::variant_ids);
    const auto pointers = variants.values<void*>(Name::variant_pointers);
    for (std::size_t i = 0; i < ids.size(); ++i) memory_[ids[i]] = pointers[i];
  }

  void run(const Fake& operation) {
    if (operation.kind == Kind::matmul_operation) {
      store(operation.other(Name::matmul_c),
            product(load(operation.other(Name::matmul_a)), load(operation.other(Name::matmul_b))));
      return;
    }
    const auto& how_to = operation.other(Name::pointwise_operation);
    auto x = load(operation.other(Name::pointwise_x));
    const bool is_binary = operation.attributes.contains(Name::pointwise_b);
    const auto b = is_binary ? load(operation.other(Name::pointwise_b)) : x;
    for (std::int64_t r = 0; r < x.sizes[1]; ++r) {
      for (std::int64_t c = 0; c < x.sizes[2]; ++c) {
        float& value = x.values[static_cast<std::size_t>(r * x.sizes[2] + c)];
        value = applied(how_to, value, b.at(r, c));
      }
    }
    store(operation.other(Name::pointwise_y), std::move(x));
  }

 private:
  static float applied(const Fake& how_to, float x, float b) {
    const auto mode = how_to.value<int>(Name::pointwise_mode);
    if (mode == kAdd) return x + b;
    if (mode == kGelu) return static_cast<float>(0.5 * x * (1 + std::erf(x / std::sqrt(2.0))));
    const double beta = how.ignores_beta ? 1 : how_to.value<double>(Name::swish_beta);
    return static_cast<float>(x / (1 + std::exp(-beta * x)));
  }

  static Numbers product(const Numbers& a, const Numbers& b) {
    Numbers out{{1, a.sizes[1], b.sizes[2]}, {}};
    for (std::int64_t r = 0; r < a.sizes[1]; ++r) {
      for (std::int64_t c = 0; c < b.sizes[2]; ++c) {
        double sum = 0;
        for (std::int64_t i = 0; i < a.sizes[2]; ++i) sum += static_cast<double>(a.at(r, i)) * b.at(i, c);
        out.values.push_back(static_cast<float>(sum));
      }
    }
    return out;
  }

  static DType dtype_of(const Fake& tensor) {
    const auto number = tensor.value<int>(Name::tensor_dtype);
    return number == kFloat ? DType::f32 : number == kHalf ? DType::f16 : DType::bf16;
  }

  template <typename Visit>
  static void each(const Fake& tensor, Visit&& visit) {
    const auto sizes = tensor.values<std::int64_t>(Name::tensor_sizes);
    const auto strides = tensor.values<std::int64_t>(Name::tensor_strides);
    std::size_t i = 0;
    for (std::int64_t r = 0; r < sizes[1]; ++r) {
      for (std::int64_t c = 0; c < sizes[2]; ++c) visit(i++, r * strides[1] + c * strides[2]);
    }
  }

  Numbers load(const Fake& tensor) {
    const auto id = tensor.value<std::int64_t>(Name::tensor_id);
    if (tensor.value<char>(Name::tensor_is_virtual)) return between_.at(id);
    Numbers numbers;
    const auto sizes = tensor.values<std::int64_t>(Name::tensor_sizes);
    std::copy(sizes.begin(), sizes.end(), numbers.sizes.begin());
    numbers.values.resize(static_cast<std::size_t>(sizes[1] * sizes[2]));
    each(tensor, [&](std::size_t i, std::int64_t offset) {
      numbers.values[i] = reference::element(memory_.at(id), dtype_of(tensor), offset);
    });
    return numbers;
  }

  void store(const Fake& tensor, Numbers numbers) {
    const auto id = tensor.value<std::int64_t>(Name::tensor_id);
    if (tensor.value<char>(Name::tensor_is_virtual)) {
      between_[id] = std::move(numbers);
      return;
    }
    each(tensor, [&](std::size_t i, std::int64_t offset) {
      reference::set(memory_.at(id), dtype_of(tensor), offset, numbers.values[i]);
    });
  }

  std::map<std::int64_t, void*> memory_;
  std::map<std::int64_t, Numbers> between_;
};

int create(Handle* handle) {
  if (!goes_well()) return kRefused;
  ++seen.handles;
  *handle = &seen;
  return kSuccess;
}

int destroy(Handle) {
  --seen.handles;
  return kSuccess;
}

int set_stream(Handle, void* to) {
  stream = to;
  return goes_well() ? kSuccess : kRefused;
}

int create_descriptor(Kind kind, Descriptor* descriptor) {
  if (!goes_well()) return kRefused;
  ++seen.descriptors;
  *descriptor = new Fake{kind, {}, false, -1};
  live.insert(*descriptor);
  return kSuccess;
}

int destroy_descriptor(Descriptor descriptor) {
  --seen.descriptors;
  live.erase(descriptor);
  delete static_cast<Fake*>(descriptor);
  return kSuccess;
}

int set_attribute(Descriptor descriptor, Name name, Type type, std::int64_t count, const void* values) {
  if (!goes_well() || fake(descriptor).is_final) return kRefused;
  const auto* bytes = static_cast<const char*>(values);
  fake(descriptor).attributes[name] = {
      type, count, {bytes, bytes + static_cast<std::size_t>(count) * size_of_type(type)}};
  return kSuccess;
}

int get_attribute(Descriptor descriptor, Name name, Type, std::int64_t room, std::int64_t* count, void* values) {
  if (!goes_well()) return kRefused;
  const Fake& f = fake(descriptor);
  if (name == Name::heuristics_results) {
    if (!f.is_final) return kRefused;
    *count = std::min(room, how.engines);
    for (std::int64_t i = 0; i < *count; ++i) {
      Fake& config = fake(static_cast<Descriptor*>(values)[i]);
      config.attributes[Name::heuristics_graph] = f.attributes.at(Name::heuristics_graph);
      config.engine = i;
      config.is_final = true;
    }
    return kSuccess;
  }
  *count = 1;
  if (name == Name::config_engine) {
    fake(*static_cast<Descriptor*>(values)).engine = f.engine;
  } else if (name == Name::engine_index) {
    *static_cast<std::int64_t*>(values) = f.engine;
  } else if (name == Name::plan_workspace) {
    const auto engine = f.other(Name::plan_config).engine;
    *static_cast<std::int64_t*>(values) = engine == how.roomy_engine ? kManyBytes : engine * 100;
  }
  return kSuccess;
}

int finalize(Descriptor descriptor) {
  Fake& f = fake(descriptor);
  if (!goes_well() || f.is_final || !is_complete(f)) return kRefused;
  if (f.kind == Kind::plan) {
    f.engine = f.other(Name::plan_config).engine;
    if (f.engine == how.refusing_engine) return kRefused;
    // A plan outlives its configuration, but not its graph.
    f.attributes[Name::heuristics_graph] = f.other(Name::plan_config).attributes.at(Name::heuristics_graph);
  }
  f.is_final = true;
  return kSuccess;
}

int execute(Handle, Descriptor plan, Descriptor variants) {
  if (!goes_well() || how.refuses_to_run || !fake(plan).is_final || !fake(variants).is_final) return kRefused;
  const Fake& graph = fake(plan).other(Name::heuristics_graph);
  if (!live.contains(&graph)) return kRefused;
  ++seen.executed;
  const auto execution = std::make_shared<Execution>(fake(variants));
  host::submit(stream, [execution, operations = graph.values<const Fake*>(Name::graph_operations)] {
    for (const auto* operation : operations) execution->run(*operation);
  });
  return kSuccess;
}

std::size_t version() { return 91900; }

}  // namespace

Settings& settings() { return how; }
const Counts& counts() { return seen; }

void reset() {
  how = {};
  seen = {};
}

const Functions* open(std::string& problem) {
  static const Functions functions{
      version,       create,        destroy,  set_stream, create_descriptor, destroy_descriptor,
      set_attribute, get_attribute, finalize, execute};
  ++seen.opened;
  problem = how.is_missing ? "there is no cuDNN" : "";
  return how.is_missing ? nullptr : &functions;
}

}  // namespace torchclip::cuda::fake_cudnn
