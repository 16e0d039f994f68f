#include "search/top_k.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "model/torch.h"
#include "runtime/cuda_library.h"
#include "runtime/error.h"
#include "search/index.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kQueriesAtOnce = 256;  // bounds the score matrix that is held

at::Tensor view(const float* data, std::int64_t rows, std::int32_t dim, const c10::Device& device) {
  return at::from_blob(const_cast<float*>(data), {rows, dim}, at::kFloat).to(device);
}

c10::Device device_of(const char* name) {
  const c10::Device device(name);
  if (device.is_cuda() && !cuda_problem().empty()) {
    throw Error(TORCHCLIP_E_CUDA_UNAVAILABLE, std::string(name) + " is not available: " + cuda_problem());
  }
  return device;
}

// The k best of one row of scores, ties by row number.
void select(const float* row, std::int64_t n, std::int32_t k, std::vector<std::int32_t>& order, std::int32_t* indices,
            float* scores) {
  order.resize(n);
  std::iota(order.begin(), order.end(), 0);
  const auto better = [row](std::int32_t x, std::int32_t y) { return row[x] > row[y] || (row[x] == row[y] && x < y); };
  if (k < n) std::nth_element(order.begin(), order.begin() + k, order.end(), better);
  std::sort(order.begin(), order.begin() + k, better);
  for (std::int32_t i = 0; i < k; ++i) {
    indices[i] = order[i];
    scores[i] = row[order[i]];
  }
}

}  // namespace

void similarity(const float* a, std::int64_t a_rows, const float* b, std::int64_t b_rows, std::int32_t dim,
                const char* device, float* out) {
  const auto on = device_of(device);
  if (on.is_cpu()) {
    auto& search = SearchTeam::get();
    std::lock_guard lock(search.mutex);
    const Context context{*kernels(), search.team};
    const Linear packed(context, Precision::fp32, b, nullptr, b_rows, dim);
    return packed.multiply(context, {a, dim * 4}, a_rows, {out, b_rows});
  }
  if (const auto* cuda = on.is_cuda() ? cuda_functions() : nullptr) {
    return cuda->similarity(std::max<int>(on.index(), 0), a, a_rows, b, b_rows, dim, out);
  }
  c10::InferenceMode inference;
  const auto scores = at::mm(view(a, a_rows, dim, on), view(b, b_rows, dim, on).t()).to(c10::kCPU).contiguous();
  std::copy_n(scores.const_data_ptr<float>(), scores.numel(), out);
}

void top_k(const float* queries, std::int64_t query_rows, const float* base, std::int64_t base_rows, std::int32_t dim,
           std::int32_t k, const char* device, std::int32_t* indices, float* scores) {
  if (k < 1 || k > base_rows) {
    throw Error(TORCHCLIP_E_ARGUMENT, "k must be in 1 to " + std::to_string(base_rows) + ", not " + std::to_string(k));
  }
  const auto on = device_of(device);
  if (on.is_cpu()) {
    Index index(Type::f32, dim);
    index.borrow(base, base_rows, nullptr);
    return index.search(queries, query_rows, k, nullptr, {indices, scores});
  }
  constexpr std::int32_t kMostK = 1024;  // of the kernel
  if (const auto* cuda = on.is_cuda() && k <= kMostK ? cuda_functions() : nullptr) {
    return cuda->topK(std::max<int>(on.index(), 0), queries, query_rows, base, base_rows, dim, k, indices, scores);
  }
  c10::InferenceMode inference;
  const auto rows = view(base, base_rows, dim, on).t();
  std::vector<std::int32_t> order;
  for (std::int64_t start = 0; start < query_rows; start += kQueriesAtOnce) {
    const auto n = std::min(kQueriesAtOnce, query_rows - start);
    const auto block = at::mm(view(queries + start * dim, n, dim, on), rows).to(c10::kCPU).contiguous();
    const float* data = block.const_data_ptr<float>();
    for (std::int64_t q = 0; q < n; ++q) {
      select(data + q * base_rows, base_rows, k, order, indices + (start + q) * k, scores + (start + q) * k);
    }
  }
}

}  // namespace torchclip::core
