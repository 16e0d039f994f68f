// The few functions of NVIDIA's cuDNN that are used: its graph API in C. The library is opened on first use; nothing
// links to it, and its header is not needed: the values below are part of its ABI.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace torchclip::cuda::cudnn {

using Handle = void*;
using Descriptor = void*;

constexpr int kSuccess = 0;

enum class Kind : int {
  pointwise = 0,
  engine = 2,
  engine_config = 3,
  heuristics = 4,
  plan = 5,
  pointwise_operation = 13,
  graph = 15,
  variants = 16,  // The memory of a graph's tensors.
  tensor = 17,
  matmul = 18,
  matmul_operation = 19,
  device = 38
};

enum class Name : int {
  pointwise_mode = 0,
  pointwise_precision = 1,
  swish_beta = 8,
  heuristics_mode = 200,
  heuristics_graph = 201,
  heuristics_results = 202,
  heuristics_device = 204,
  config_engine = 300,
  plan_handle = 400,
  plan_config = 401,
  plan_workspace = 402,
  plan_device = 407,
  pointwise_operation = 750,
  pointwise_x = 751,
  pointwise_b = 752,
  pointwise_y = 753,
  graph_handle = 800,
  graph_operations = 801,
  tensor_alignment = 900,
  tensor_dtype = 901,
  tensor_sizes = 902,
  tensor_strides = 903,
  tensor_id = 906,
  tensor_is_virtual = 907,
  variant_ids = 1000,
  variant_pointers = 1001,
  variant_workspace = 1003,
  engine_index = 1301,
  matmul_precision = 1500,
  matmul_a = 1520,
  matmul_b = 1521,
  matmul_c = 1522,
  matmul_operation = 1523,
  device_json = 2702
};

// The types of attributes.
enum class Type : int {
  handle = 0,
  dtype = 1,
  boolean = 2,
  int64 = 3,
  real = 5,
  pointer = 6,
  heuristics_mode = 8,
  pointwise_mode = 14,
  descriptor = 15,
  text = 24
};

// Values of attributes.
enum Number : int { kFloat = 0, kHalf = 2, kBfloat16 = 9 };
enum Pointwise : int { kAdd = 0, kGelu = 104, kSwish = 106 };
constexpr int kHeuristicsByModel = 3;  // CUDNN_HEUR_MODE_A

struct Functions {
  std::size_t (*version)() = nullptr;
  int (*create)(Handle* handle) = nullptr;
  int (*destroy)(Handle handle) = nullptr;
  int (*set_stream)(Handle handle, void* stream) = nullptr;
  int (*create_descriptor)(Kind kind, Descriptor* descriptor) = nullptr;
  int (*destroy_descriptor)(Descriptor descriptor) = nullptr;
  int (*set_attribute)(Descriptor descriptor, Name name, Type type, std::int64_t count, const void* values) = nullptr;
  int (*get_attribute)(Descriptor descriptor, Name name, Type type, std::int64_t room, std::int64_t* count,
                       void* values) = nullptr;
  int (*finalize)(Descriptor descriptor) = nullptr;
  int (*execute)(Handle handle, Descriptor plan, Descriptor variants) = nullptr;
};

// Opens the library, once for the process. Null, with what is missing in `problem`, if it is not there.
const Functions* open_library(std::string& problem);

}  // namespace torchclip::cuda::cudnn
