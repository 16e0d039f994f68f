#include "search/top_k.h"

#include <algorithm>
#include <cmath>
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

}  // namespace

void similarity(const float* a, std::int64_t a_rows, const float* b, std::int64_t b_rows, std::int32_t dim,
                const char* device, float* out) {
  const auto on = device_of(device);
  if (on.is_cpu()) {
    const auto multiply = [&](Team& team) {
      const Context context{*kernels(), team};
      const Linear packed(context, Precision::fp32, b, nullptr, b_rows, dim);
      packed.multiply(context, {a, std::int64_t{dim} * 4}, a_rows, {out, b_rows});
    };
    // The JavaScript thread may be the caller: it does not wait for a search that runs, but works alone meanwhile.
    auto& search = SearchTeam::get();
    const std::unique_lock lock(search.mutex, std::try_to_lock);
    if (lock.owns_lock()) return multiply(search.team);
    Team alone(1);
    return multiply(alone);
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
  check_k(k, base_rows);
  const auto on = device_of(device);
  if (on.is_cpu()) {
    return Index::search_rows(base, base_rows, dim, {queries, query_rows, k, {}}, {indices, scores});
  }
  constexpr std::int32_t kMostK = 1024;  // of the kernel
  if (const auto* cuda = on.is_cuda() && k <= kMostK ? cuda_functions() : nullptr) {
    return cuda->topK(std::max<int>(on.index(), 0), queries, query_rows, base, base_rows, dim, k, indices, scores);
  }
  c10::InferenceMode inference;
  const auto rows = view(base, base_rows, dim, on).t();
  std::vector<Hit> found;
  for (std::int64_t start = 0; start < query_rows; start += kQueriesAtOnce) {
    const auto n = std::min(kQueriesAtOnce, query_rows - start);
    const auto block = at::mm(view(queries + start * dim, n, dim, on), rows).to(c10::kCPU).contiguous();
    const float* data = block.const_data_ptr<float>();
    for (std::int64_t q = 0; q < n; ++q) {
      const float* row = data + q * base_rows;
      found.clear();
      for (std::int32_t i = 0; i < base_rows; ++i) {
        if (!std::isnan(row[i])) found.push_back({row[i], i});
      }
      write_hits(found, k, start + q, {indices, scores});
    }
  }
}

void top_k_of_block(const float* queries, std::int64_t query_rows, const BaseBlock& block, std::int32_t dim,
                    std::int32_t k, const char* device, std::int32_t* indices, float* scores) {
  const auto of_block = static_cast<std::int32_t>(std::min<std::int64_t>(k, block.rows));
  if (block.first == 0 && of_block == k) {
    return top_k(queries, query_rows, block.data, block.rows, dim, k, device, indices, scores);
  }
  std::vector<std::int32_t> rows(static_cast<std::size_t>(query_rows * of_block));
  std::vector<float> of_rows(rows.size());
  top_k(queries, query_rows, block.data, block.rows, dim, of_block, device, rows.data(), of_rows.data());
  std::vector<Hit> found;
  const auto collect = [&](const std::int32_t* numbers, const float* values, std::int32_t n, std::int64_t first) {
    for (std::int32_t i = 0; i < n && numbers[i] >= 0; ++i) {
      found.push_back({values[i], static_cast<std::int32_t>(first + numbers[i])});
    }
  };
  for (std::int64_t q = 0; q < query_rows; ++q) {
    found.clear();
    if (block.first > 0) collect(indices + q * k, scores + q * k, k, 0);
    collect(rows.data() + q * of_block, of_rows.data() + q * of_block, of_block, block.first);
    write_hits(found, k, q, {indices, scores});
  }
}

}  // namespace torchclip::core
