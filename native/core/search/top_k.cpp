#include "search/top_k.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <string>
#include <vector>

#include "backend/edge.h"
#include "base/error.h"
#include "linalg/packed.h"
#include "model/device.h"
#include "model/device_rows.h"
#include "model/gpu_library.h"
#include "model/torch_library.h"
#include "search/index.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kQueriesAtOnce = 256;  // bounds the score matrix that is held
constexpr std::int32_t kMostK = 1024;         // of the CUDA library's kernel

Device usable_device(const char* name) {
  const auto device = device_named(name);
  if (device.cuda && !cuda_problem().empty()) {
    throw Error(TORCHCLIP_E_CUDA_UNAVAILABLE, std::string(name) + " is not available: " + cuda_problem());
  }
  return device;
}

void similarity_on_cpu(const float* a, std::int64_t a_rows, const float* b, std::int64_t b_rows, std::int32_t dim,
                       float* out) {
  const auto multiply = [&](ThreadPool& pool) {
    const Context context{*kernels(), pool};
    const Linear packed(context, Precision::fp32, b, nullptr, b_rows, dim);
    packed.multiply(context, ConstMatrix::dense(a, a_rows, dim), Matrix::dense(out, a_rows, b_rows));
  };
  // The JavaScript thread may be the caller: it does not wait for a search that runs, but works alone meanwhile.
  auto& search = SearchThreads::get();
  const std::unique_lock lock(search.mutex, std::try_to_lock);
  if (lock.owns_lock()) return multiply(search.pool);
  ThreadPool alone(1);
  return multiply(alone);
}

DeviceRows rows_on_device(const Device& device, const float* rows, std::int64_t count, std::int32_t dim) {
  return {torch_table("a search on a GPU"), device, rows, count, dim};
}

// The k best of each query out of all inner products, a few queries at a time.
void top_k_by_inner_products(const DeviceRows& rows, const float* queries, std::int64_t query_rows,
                             std::int64_t base_rows, std::int32_t dim, std::int32_t k, std::int32_t* indices,
                             float* scores) {
  std::vector<float> block(static_cast<std::size_t>(std::min(kQueriesAtOnce, query_rows) * base_rows));
  std::vector<Hit> found;
  for (std::int64_t start = 0; start < query_rows; start += kQueriesAtOnce) {
    const auto n = std::min(kQueriesAtOnce, query_rows - start);
    rows.inner_products(queries + start * dim, n, block.data());
    for (std::int64_t q = 0; q < n; ++q) {
      const float* row = block.data() + q * base_rows;
      found.clear();
      for (std::int32_t i = 0; i < base_rows; ++i) {
        if (!std::isnan(row[i])) found.push_back({row[i], i});
      }
      write_hits(found, k, start + q, {indices, scores});
    }
  }
}

}  // namespace

void similarity(const float* a, std::int64_t a_rows, const float* b, std::int64_t b_rows, std::int32_t dim,
                const char* device, float* out) {
  const auto on = usable_device(device);
  if (!on.cuda) return similarity_on_cpu(a, a_rows, b, b_rows, dim, out);
  if (const auto* cuda = cuda_table()) return call(cuda->similarity, on.index, a, a_rows, b, b_rows, dim, out);
  rows_on_device(on, b, b_rows, dim).inner_products(a, a_rows, out);
}

void top_k(const float* queries, std::int64_t query_rows, const float* base, std::int64_t base_rows, std::int32_t dim,
           std::int32_t k, const char* device, std::int32_t* indices, float* scores) {
  check_k(k, base_rows);
  const auto on = usable_device(device);
  if (!on.cuda) return Index::search_rows(base, base_rows, dim, {queries, query_rows, k, {}}, {indices, scores});
  if (const auto* cuda = k <= kMostK ? cuda_table() : nullptr) {
    return call(cuda->top_k, on.index, queries, query_rows, base, base_rows, dim, k, indices, scores);
  }
  const auto rows = rows_on_device(on, base, base_rows, dim);
  top_k_by_inner_products(rows, queries, query_rows, base_rows, dim, k, indices, scores);
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
