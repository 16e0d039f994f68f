#include "blas.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "gpu.h"
#include "kernels.h"

namespace torchclip::cuda {
namespace {

constexpr std::size_t kWorkspace = 32 << 20;  // what NVIDIA recommends for Hopper; older chips need less
constexpr std::size_t kPlans = 4096;
constexpr int kProposals = 8;

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw std::runtime_error(std::string(what) + ": cuBLASLt answers " + cublasLtGetStatusName(status));
  }
}

cudaDataType_t type_of(DType n) { return n == DType::f32 ? CUDA_R_32F : n == DType::f16 ? CUDA_R_16F : CUDA_R_16BF; }

// The largest power of two, up to 256, that all addresses are a multiple of.
int alignment_of(const GemmArgs& p) {
  std::uintptr_t bits = 256;
  for (const void* pointer : {p.a, p.weights, p.bias, static_cast<const void*>(p.out)}) {
    bits |= reinterpret_cast<std::uintptr_t>(pointer);
  }
  return static_cast<int>(bits & (~bits + 1));
}

}  // namespace

Blas::Blas() { check(cublasLtCreate(&handle_), "cuBLASLt does not start"); }

Blas::~Blas() {
  for (auto& [key, plan] : plans_) free(plan);
  if (handle_) cublasLtDestroy(handle_);
}

void Blas::free(Plan& plan) {
  if (plan.operation) cublasLtMatmulDescDestroy(plan.operation);
  for (auto layout : {plan.a, plan.b, plan.c}) {
    if (layout) cublasLtMatrixLayoutDestroy(layout);
  }
  plan = {};
}

// cuBLASLt counts by columns: our row-major out [rows, columns] is its column-major [columns, rows], the
// multiplication of the transposed weights with the rows; its bias runs along our columns.
bool Blas::propose(Plan& plan, const GemmArgs& p, int alignment,
                   std::vector<cublasLtMatmulHeuristicResult_t>& found) const {
  free(plan);
  // float32 is float32: TF32 is a compute type of its own that is never asked for.
  check(cublasLtMatmulDescCreate(&plan.operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "a description of a GEMM");
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    check(cublasLtMatmulDescSetAttribute(plan.operation, attribute, &value, sizeof value), "an attribute of a GEMM");
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N);
  if (plan.epilogue && (p.bias || p.gelu_tanh)) {
    const cublasLtEpilogue_t epilogue = p.bias && p.gelu_tanh ? CUBLASLT_EPILOGUE_GELU_BIAS
                                        : p.gelu_tanh         ? CUBLASLT_EPILOGUE_GELU
                                                              : CUBLASLT_EPILOGUE_BIAS;
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    if (p.bias) {
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
      set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(p.out_dtype));
    }
  }
  const auto layout = [&](cublasLtMatrixLayout_t& to, DType dtype, std::int64_t rows, std::int64_t columns,
                          std::int64_t stride) {
    check(cublasLtMatrixLayoutCreate(&to, type_of(dtype), static_cast<std::uint64_t>(rows),
                                     static_cast<std::uint64_t>(columns), stride),
          "a matrix's layout");
  };
  layout(plan.a, p.dtype, p.inner, p.columns, p.inner);
  layout(plan.b, p.dtype, p.inner, p.rows, p.inner);
  layout(plan.c, p.out_dtype, p.columns, p.rows, p.stride);

  cublasLtMatmulPreference_t preference = nullptr;
  check(cublasLtMatmulPreferenceCreate(&preference), "the preferences of a GEMM");
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value), "a preference of a GEMM");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  const auto bytes = static_cast<std::uint32_t>(alignment);
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    prefer(attribute, bytes);
  }
  found.assign(kProposals, {});
  int count = 0;
  const auto status = cublasLtMatmulAlgoGetHeuristic(handle_, plan.operation, plan.a, plan.b, plan.c, plan.c,
                                                     preference, kProposals, found.data(), &count);
  cublasLtMatmulPreferenceDestroy(preference);
  found.resize(status == CUBLAS_STATUS_SUCCESS ? static_cast<std::size_t>(count) : 0);
  found.erase(
      std::remove_if(found.begin(), found.end(), [](const auto& r) { return r.state != CUBLAS_STATUS_SUCCESS; }),
      found.end());
  return !found.empty();
}

cublasStatus_t Blas::start(Device& device, const Plan& plan, const cublasLtMatmulAlgo_t& algorithm, const GemmArgs& p,
                           void* out) const {
  const float one = 1, other = p.accumulate ? 1 : 0;
  return cublasLtMatmul(handle_, plan.operation, &one, p.weights, plan.a, p.a, plan.b, &other, out, plan.c, out, plan.c,
                        &algorithm, workspace_.get(), kWorkspace, static_cast<cudaStream_t>(device.stream()));
}

Blas::Plan Blas::make(Device& device, const GemmArgs& p, int alignment, bool may_time) {
  Plan plan;
  std::vector<cublasLtMatmulHeuristicResult_t> found;
  if (!propose(plan, p, alignment, found)) {
    plan.epilogue = false;
    if (!propose(plan, p, alignment, found)) {
      throw std::runtime_error("cuBLASLt has no GEMM of " + std::to_string(p.rows) + " x " + std::to_string(p.inner) +
                               " by " + std::to_string(p.inner) + " x " + std::to_string(p.columns));
    }
  }
  plan.algorithm = found.front().algo;
  if (!may_time || found.size() == 1) return plan;
  // On scratch: an accumulating GEMM must not run twice on its output.
  const auto scratch = device.allocate(static_cast<std::size_t>(p.rows * p.stride * size_of(p.out_dtype)));
  float least = 0;
  for (const auto& proposal : found) {
    Timer timer(device.stream());
    bool works = start(device, plan, proposal.algo, p, scratch.get()) == CUBLAS_STATUS_SUCCESS;
    timer.begin();
    for (int i = 0; works && i < 3; ++i) {
      works = start(device, plan, proposal.algo, p, scratch.get()) == CUBLAS_STATUS_SUCCESS;
    }
    const float time = timer.end();
    if (works && (least == 0 || time < least)) {
      least = time;
      plan.algorithm = proposal.algo;
    }
  }
  return plan;
}

void Blas::gemm(Device& device, const GemmArgs& p, bool may_time) {
  if (p.rows == 0) return;
  if (!workspace_) workspace_ = device.allocate(kWorkspace);
  const int alignment = alignment_of(p);
  const Key key{p.rows,      p.inner,           p.columns,    p.stride,    p.dtype,
                p.out_dtype, p.bias != nullptr, p.accumulate, p.gelu_tanh, alignment};
  auto at = plans_.find(key);
  if (at == plans_.end()) {
    if (plans_.size() >= kPlans) {
      for (auto& [old, plan] : plans_) free(plan);
      plans_.clear();
    }
    at = plans_.emplace(key, make(device, p, alignment, may_time)).first;
  }
  const Plan& plan = at->second;
  if (plan.epilogue && p.bias) {
    check(cublasLtMatmulDescSetAttribute(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p.bias, sizeof p.bias),
          "the bias of a GEMM");
  }
  check(start(device, plan, plan.algorithm, p, p.out), "a GEMM");
  if (!plan.epilogue && (p.bias || p.gelu_tanh)) {
    bias_activation(device.stream(), p.out, p.out_dtype, p.rows, p.columns, p.bias, p.out_dtype,
                    p.gelu_tanh ? Activation::gelu_tanh : Activation::none);
  }
}

}  // namespace torchclip::cuda
