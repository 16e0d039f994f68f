#include "blas.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "agreement.h"
#include "base/error.h"
#include "event.h"
#include "kernels.h"

namespace torchclip::cuda {
namespace {

constexpr std::size_t kWorkspace = 32 << 20;  // what NVIDIA recommends for Hopper; older chips need less
constexpr std::size_t kShapes = 4096;
constexpr int kProposals = 8;
constexpr int kTimedRuns = 3;

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw std::runtime_error(std::string(what) + ": cuBLASLt answers " + cublasLtGetStatusName(status));
  }
}

cudaDataType_t type_of(DType n) {
  switch (n) {
    case DType::f32:
      return CUDA_R_32F;
    case DType::f16:
      return CUDA_R_16F;
    case DType::e4m3:
      return CUDA_R_8F_E4M3;
    default:
      return CUDA_R_16BF;
  }
}

// The largest power of two, up to 256, that all addresses are a multiple of.
int alignment_of(const GemmArgs& p) {
  std::uintptr_t bits = 256;
  for (const void* pointer : {p.a, p.weights, p.bias, static_cast<const void*>(p.out)}) {
    bits |= reinterpret_cast<std::uintptr_t>(pointer);
  }
  return static_cast<int>(bits & (~bits + 1));
}

cublasLtEpilogue_t epilogue_of(const GemmArgs& p) {
  if (!p.gelu_tanh) return CUBLASLT_EPILOGUE_BIAS;
  return p.bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
}

// What a GEMM is looked for by: room, alignment, and how partial sums of split-K are added.
class Preference {
 public:
  Preference(const GemmArgs& p, int alignment) {
    check(cublasLtMatmulPreferenceCreate(&preference_), "the preferences of a GEMM");
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
    const auto bytes = static_cast<std::uint32_t>(alignment);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, bytes);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, bytes);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, bytes);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, bytes);
    // Partial sums stay in float32: the other schemes add them in the 16 bits of the output.
    if (p.out_dtype != DType::f32) {
      set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    }
  }
  ~Preference() { cublasLtMatmulPreferenceDestroy(preference_); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;
  cublasLtMatmulPreference_t get() const { return preference_; }

 private:
  template <typename Value>
  void set(cublasLtMatmulPreferenceAttributes_t attribute, const Value& value) {
    check(cublasLtMatmulPreferenceSetAttribute(preference_, attribute, &value, sizeof value), "a preference of a GEMM");
  }
  cublasLtMatmulPreference_t preference_ = nullptr;
};

}  // namespace

Blas::Operation::Operation(const GemmArgs& p, bool fused) : epilogue(fused) {
  try {
    describe(p);
  } catch (...) {
    release();
    throw;
  }
}

Blas::Operation::~Operation() { release(); }

Blas::Operation::Operation(Operation&& other) noexcept
    : description(std::exchange(other.description, nullptr)),
      a(std::exchange(other.a, nullptr)),
      b(std::exchange(other.b, nullptr)),
      c(std::exchange(other.c, nullptr)),
      epilogue(other.epilogue) {}

void Blas::Operation::release() {
  if (description) cublasLtMatmulDescDestroy(description);
  for (auto layout : {a, b, c}) {
    if (layout) cublasLtMatrixLayoutDestroy(layout);
  }
}

// cuBLASLt counts by columns: our row-major out [rows, columns] is its column-major [columns, rows], the
// multiplication of the transposed weights with the rows; its bias runs along our columns.
void Blas::Operation::describe(const GemmArgs& p) {
  // float32 is float32: TF32 is a compute type of its own that is never asked for.
  check(cublasLtMatmulDescCreate(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F), "a description of a GEMM");
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    check(cublasLtMatmulDescSetAttribute(description, attribute, &value, sizeof value), "an attribute of a GEMM");
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N);
  // Sums of E4M3 stay in the tensor cores' own, shorter accumulators. The measured cosine of fp8 includes their error.
  if (p.dtype == DType::e4m3) set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, std::int8_t{1});
  if (epilogue && (p.bias || p.gelu_tanh)) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(p));
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
  layout(a, p.dtype, p.inner, p.columns, p.inner);
  layout(b, p.dtype, p.inner, p.rows, p.inner);
  layout(c, p.out_dtype, p.columns, p.rows, p.stride);
}

Blas::Blas(Device& device) : device_(device) { check(cublasLtCreate(&handle_), "cuBLASLt does not start"); }

Blas::~Blas() {
  shapes_.clear();
  if (handle_) cublasLtDestroy(handle_);
}

std::vector<cublasLtMatmulAlgo_t> Blas::propose(const GemmArgs& p, bool epilogue) {
  const Operation operation(p, epilogue);
  const Preference preference(p, alignment_of(p));
  std::vector<cublasLtMatmulHeuristicResult_t> found(kProposals);
  int count = 0;
  const auto status =
      cublasLtMatmulAlgoGetHeuristic(handle_, operation.description, operation.a, operation.b, operation.c, operation.c,
                                     preference.get(), kProposals, found.data(), &count);
  found.resize(status == CUBLAS_STATUS_SUCCESS ? static_cast<std::size_t>(count) : 0);
  std::vector<Algorithm> algorithms;
  for (const auto& result : found) {
    if (result.state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(result.algo);
  }
  return algorithms;
}

bool Blas::accepts(const GemmArgs& p, bool epilogue, const Algorithm& algorithm) {
  const Operation operation(p, epilogue);
  cublasLtMatmulHeuristicResult_t result{};
  const auto status = cublasLtMatmulAlgoCheck(handle_, operation.description, operation.a, operation.b, operation.c,
                                              operation.c, &algorithm, &result);
  return status == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= kWorkspace;
}

cublasStatus_t Blas::start(const Operation& operation, const Algorithm& algorithm, const GemmArgs& p, const void* a,
                           void* out) const {
  const float scale = p.scale, other = p.accumulate ? 1 : 0;
  return cublasLtMatmul(handle_, operation.description, &scale, p.weights, operation.a, a, operation.b, &other, out,
                        operation.c, out, operation.c, &algorithm, workspace_.get(), kWorkspace,
                        static_cast<cudaStream_t>(device_.stream()));
}

// What the trials of a shape use instead of the pass's own rows, which may be unwritten padding, and instead of
// its output, which an accumulating GEMM must not change twice.
struct Blas::Scratch {
  Scratch(Device& device, const GemmArgs& p)
      : count(p.rows * p.stride),
        bytes(static_cast<std::size_t>(count * size_of(p.out_dtype))),
        rows(device.allocate(static_cast<std::size_t>(p.rows * p.inner * size_of(p.dtype)))),
        expected(device.allocate(bytes)),
        out(device.allocate(bytes)) {
    fill_values(device.stream(), p.dtype, p.rows * p.inner, rows.get());
  }

  std::int64_t count;
  std::size_t bytes;
  Memory rows, expected, out;
};

std::vector<GemmTrial> Blas::try_out(const GemmArgs& p, bool epilogue, const std::vector<Algorithm>& all) {
  std::optional<Scratch> scratch;
  try {
    scratch.emplace(device_, p);
  } catch (const std::exception&) {
    return {};  // no room
  }
  const Operation operation(p, epilogue);
  const auto run = [&](const Algorithm& algorithm, void* out) {
    return start(operation, algorithm, p, scratch->rows.get(), out) == CUBLAS_STATUS_SUCCESS;
  };
  std::vector<GemmTrial> trials;
  bool is_first = true;  // the first that works gives what the others are compared with
  for (const auto& algorithm : all) {
    GemmTrial trial;
    void* out = is_first ? scratch->expected.get() : scratch->out.get();
    device_.fill(out, 0, scratch->bytes);
    trial.works = run(algorithm, out);
    trial.agrees = trial.works && (is_first || agrees(device_, scratch->expected.get(), scratch->out.get(), p.out_dtype,
                                                      scratch->count));
    if (trial.works) is_first = false;
    Timer timer(device_.stream());
    timer.begin();
    for (int r = 0; trial.works && r < kTimedRuns; ++r) trial.works = run(algorithm, scratch->out.get());
    trial.milliseconds = timer.end();
    if (!trial.works) cudaGetLastError();  // or the next kernel would be blamed
    trials.push_back(trial);
  }
  return trials;
}

const Blas::Plan& Blas::plan_of(const GemmArgs& p, bool may_time) {
  const int alignment = alignment_of(p);
  const Key key{p.rows,      p.inner,           p.columns,    p.stride,    p.dtype,
                p.out_dtype, p.bias != nullptr, p.accumulate, p.gelu_tanh, alignment};
  if (const auto at = shapes_.find(key); at != shapes_.end()) return at->second;
  if (shapes_.size() >= kShapes) shapes_.clear();
  const auto plan = plans_.choose(p, alignment, may_time);
  return shapes_.emplace(key, Plan{Operation(p, plan.epilogue), plan.algorithm}).first->second;
}

void Blas::gemm(const GemmArgs& p, bool may_time) {
  if (p.rows == 0) return;
  if (!workspace_) workspace_ = device_.allocate(kWorkspace);
  const Plan& plan = plan_of(p, may_time);
  const Operation& operation = plan.operation;
  if (operation.epilogue && p.bias) {
    check(cublasLtMatmulDescSetAttribute(operation.description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p.bias,
                                         sizeof p.bias),
          "the bias of a GEMM");
  }
  check(start(operation, plan.algorithm, p, p.a, p.out), "a GEMM");
  if (!operation.epilogue && (p.bias || p.gelu_tanh)) {
    bias_activation(device_.stream(), p.out, p.out_dtype, p.rows, p.columns, p.bias, p.out_dtype,
                    p.gelu_tanh ? Activation::gelu_tanh : Activation::none);
  }
}

}  // namespace torchclip::cuda
