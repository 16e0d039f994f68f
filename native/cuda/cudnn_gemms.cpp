#include "cudnn_gemms.h"

#include <exception>
#include <utility>

#include "cudnn_plans.h"

namespace torchclip::cuda {
namespace {

// Each plan is compiled for a second or less, and those of the heuristics' first places are the ones that may win.
constexpr int kPlans = 4;
constexpr std::int64_t kMostWorkspace = 32 << 20;

}  // namespace

class CudnnGemms::Plan final : public FusedPlan {
 public:
  Plan(CudnnGemms& library, cudnn::Plan plan)
      : library_(library),
        plan_(std::move(plan)),
        workspace_(plan_.workspace_bytes() > 0
                       ? library.device_.allocate(static_cast<std::size_t>(plan_.workspace_bytes()))
                       : nullptr) {}

  bool run(const ActivatedGemm& gemm) override {
    if (plan_.execute(*library_.functions_, library_.handle_, gemm, workspace_.get())) return true;
    library_.forget_error_();
    return false;
  }

 private:
  CudnnGemms& library_;
  cudnn::Plan plan_;
  Memory workspace_;
};

CudnnGemms::~CudnnGemms() {
  if (handle_) functions_->destroy(handle_);
}

bool CudnnGemms::start() {
  if (std::exchange(started_, true)) return handle_ != nullptr;
  std::string problem;  // no library: two kernels are used
  functions_ = open_(problem);
  if (!functions_) return false;
  if (functions_->create(&handle_) != cudnn::kSuccess) {
    handle_ = nullptr;
    forget_error_();
    return false;
  }
  if (functions_->set_stream(handle_, device_.stream()) == cudnn::kSuccess) return true;
  functions_->destroy(std::exchange(handle_, nullptr));
  forget_error_();
  return false;
}

std::vector<std::unique_ptr<FusedPlan>> CudnnGemms::plans(const ActivatedGemm& gemm) {
  std::vector<std::unique_ptr<FusedPlan>> plans;
  if (!start()) return plans;
  try {
    for (auto& plan : cudnn::plans_for(*functions_, {handle_, {}}, gemm, kPlans, kMostWorkspace)) {
      plans.push_back(std::make_unique<Plan>(*this, std::move(plan)));
    }
  } catch (const std::exception&) {
    forget_error_();  // What was planned before there was no more room is tried.
  }
  return plans;
}

}  // namespace torchclip::cuda
