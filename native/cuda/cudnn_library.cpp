#include "cudnn_library.h"

#include <type_traits>

#include "base/platform_library.h"

#if __has_include(<cudnn_graph.h>)
#include <cudnn_graph.h>
#endif

namespace torchclip::cuda::cudnn {

#if defined(CUDNN_GRAPH_H_)
namespace {

template <typename Ours, typename Theirs>
constexpr bool equal(Ours ours, Theirs theirs) {
  return static_cast<int>(ours) == static_cast<int>(theirs);
}

static_assert(kSuccess == CUDNN_STATUS_SUCCESS && equal(kHeuristicsByModel, CUDNN_HEUR_MODE_A));
static_assert(equal(Kind::pointwise, CUDNN_BACKEND_POINTWISE_DESCRIPTOR));
static_assert(equal(Kind::engine, CUDNN_BACKEND_ENGINE_DESCRIPTOR));
static_assert(equal(Kind::engine_config, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
static_assert(equal(Kind::heuristics, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR));
static_assert(equal(Kind::plan, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR));
static_assert(equal(Kind::pointwise_operation, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR));
static_assert(equal(Kind::graph, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR));
static_assert(equal(Kind::variants, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR));
static_assert(equal(Kind::tensor, CUDNN_BACKEND_TENSOR_DESCRIPTOR));
static_assert(equal(Kind::matmul, CUDNN_BACKEND_MATMUL_DESCRIPTOR));
static_assert(equal(Kind::matmul_operation, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR));
static_assert(equal(Name::pointwise_mode, CUDNN_ATTR_POINTWISE_MODE));
static_assert(equal(Name::pointwise_precision, CUDNN_ATTR_POINTWISE_MATH_PREC));
static_assert(equal(Name::swish_beta, CUDNN_ATTR_POINTWISE_SWISH_BETA));
static_assert(equal(Name::heuristics_mode, CUDNN_ATTR_ENGINEHEUR_MODE));
static_assert(equal(Name::heuristics_graph, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH));
static_assert(equal(Name::heuristics_results, CUDNN_ATTR_ENGINEHEUR_RESULTS));
static_assert(equal(Name::config_engine, CUDNN_ATTR_ENGINECFG_ENGINE));
static_assert(equal(Name::plan_handle, CUDNN_ATTR_EXECUTION_PLAN_HANDLE));
static_assert(equal(Name::plan_config, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG));
static_assert(equal(Name::plan_workspace, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
static_assert(equal(Name::pointwise_operation, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR));
static_assert(equal(Name::pointwise_x, CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
static_assert(equal(Name::pointwise_b, CUDNN_ATTR_OPERATION_POINTWISE_BDESC));
static_assert(equal(Name::pointwise_y, CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
static_assert(equal(Name::graph_handle, CUDNN_ATTR_OPERATIONGRAPH_HANDLE));
static_assert(equal(Name::graph_operations, CUDNN_ATTR_OPERATIONGRAPH_OPS));
static_assert(equal(Name::tensor_alignment, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT));
static_assert(equal(Name::tensor_dtype, CUDNN_ATTR_TENSOR_DATA_TYPE));
static_assert(equal(Name::tensor_sizes, CUDNN_ATTR_TENSOR_DIMENSIONS));
static_assert(equal(Name::tensor_strides, CUDNN_ATTR_TENSOR_STRIDES));
static_assert(equal(Name::tensor_id, CUDNN_ATTR_TENSOR_UNIQUE_ID));
static_assert(equal(Name::tensor_is_virtual, CUDNN_ATTR_TENSOR_IS_VIRTUAL));
static_assert(equal(Name::variant_ids, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS));
static_assert(equal(Name::variant_pointers, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS));
static_assert(equal(Name::variant_workspace, CUDNN_ATTR_VARIANT_PACK_WORKSPACE));
static_assert(equal(Name::engine_index, CUDNN_ATTR_ENGINE_GLOBAL_INDEX));
static_assert(equal(Name::matmul_precision, CUDNN_ATTR_MATMUL_COMP_TYPE));
static_assert(equal(Name::matmul_a, CUDNN_ATTR_OPERATION_MATMUL_ADESC));
static_assert(equal(Name::matmul_b, CUDNN_ATTR_OPERATION_MATMUL_BDESC));
static_assert(equal(Name::matmul_c, CUDNN_ATTR_OPERATION_MATMUL_CDESC));
static_assert(equal(Name::matmul_operation, CUDNN_ATTR_OPERATION_MATMUL_DESC));
#if CUDNN_VERSION >= 90800
static_assert(equal(Kind::device, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR));
static_assert(equal(Name::heuristics_device, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP));
static_assert(equal(Name::plan_device, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP));
static_assert(equal(Name::device_json, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION));
#endif
static_assert(equal(Type::handle, CUDNN_TYPE_HANDLE) && equal(Type::dtype, CUDNN_TYPE_DATA_TYPE));
static_assert(equal(Type::boolean, CUDNN_TYPE_BOOLEAN) && equal(Type::int64, CUDNN_TYPE_INT64));
static_assert(equal(Type::real, CUDNN_TYPE_DOUBLE) && equal(Type::pointer, CUDNN_TYPE_VOID_PTR));
static_assert(equal(Type::heuristics_mode, CUDNN_TYPE_HEUR_MODE) && equal(Type::text, CUDNN_TYPE_CHAR));
static_assert(equal(Type::pointwise_mode, CUDNN_TYPE_POINTWISE_MODE));
static_assert(equal(Type::descriptor, CUDNN_TYPE_BACKEND_DESCRIPTOR));
static_assert(equal(kFloat, CUDNN_DATA_FLOAT) && equal(kHalf, CUDNN_DATA_HALF));
static_assert(equal(kBfloat16, CUDNN_DATA_BFLOAT16) && equal(kAdd, CUDNN_POINTWISE_ADD));
static_assert(equal(kGelu, CUDNN_POINTWISE_GELU_FWD) && equal(kSwish, CUDNN_POINTWISE_SWISH_FWD));

}  // namespace
#endif

namespace {

struct Opened {
  Functions functions;
  std::string problem;
};

Opened open() {
  Opened opened;
  // libtorch for CUDA has opened it already, and this is a second reference to it.
  std::string reason;
  void* library = core::open_library("libcudnn.so.9", core::Symbols::local, reason);
  if (!library) {
    opened.problem = "cuDNN was not found (libcudnn.so.9)";
    return opened;
  }
  const auto require = [&](auto& to, const char* name) {
    to = reinterpret_cast<std::remove_reference_t<decltype(to)>>(core::library_function(library, name));
    if (!to) opened.problem = std::string("this cuDNN lacks ") + name;
  };
  auto& f = opened.functions;
  require(f.version, "cudnnGetVersion");
  require(f.create, "cudnnCreate");
  require(f.destroy, "cudnnDestroy");
  require(f.set_stream, "cudnnSetStream");
  require(f.create_descriptor, "cudnnBackendCreateDescriptor");
  require(f.destroy_descriptor, "cudnnBackendDestroyDescriptor");
  require(f.set_attribute, "cudnnBackendSetAttribute");
  require(f.get_attribute, "cudnnBackendGetAttribute");
  require(f.finalize, "cudnnBackendFinalize");
  require(f.execute, "cudnnBackendExecute");
  return opened;
}

}  // namespace

const Functions* open_library(std::string& problem) {
  static const Opened opened = open();
  problem = opened.problem;
  return problem.empty() ? &opened.functions : nullptr;
}

}  // namespace torchclip::cuda::cudnn
