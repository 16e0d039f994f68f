#include "search/gpu_rows.h"

#include <algorithm>
#include <vector>

#include "backend/edge.h"
#include "base/error.h"
#include "model/device.h"
#include "model/gpu_library.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kPartBytes = 16 << 20;  // of rows that are copied together

}  // namespace

GpuRows::GpuRows(const torchclip_cuda_table& table, int index, std::int64_t dim)
    : table_(table), dim_(dim), on_gpu_(nullptr, table.destroy_rows) {
  torchclip_cuda_rows* made = nullptr;
  call(table.make_rows, index, dim, &made);
  on_gpu_.reset(made);
}

std::unique_ptr<GpuRows> GpuRows::on(const std::string& device, std::int64_t dim) {
  std::string unused;
  const Device on = device_named(device);
  if (!on.cuda)
    throw Error(TORCHCLIP_E_ARGUMENT, "the rows of an index are copied to cuda or cuda:N, not to " + device);
  choose_device(device, unused);
  const auto* table = cuda_table();
  if (table) return std::make_unique<GpuRows>(*table, on.index, dim);
  throw Error(TORCHCLIP_E_CUDA_UNAVAILABLE, "an index on " + device + " is not available: " + fast_cuda_problem());
}

void GpuRows::follow(const RowView& rows) {
  // The rows pass through memory of ours: those of a mapped file are only valid once its length has been checked.
  const std::int64_t most = std::max<std::int64_t>(1, kPartBytes / (dim_ * 4));
  std::vector<float> part(static_cast<std::size_t>(std::min(most, rows.count - rows_) * dim_));
  while (rows_ < rows.count) {
    const std::int64_t n = std::min(most, rows.count - rows_);
    rows.read(rows_, n, part.data());
    call(table_.add_rows, on_gpu_.get(), part.data(), n);
    rows_ += n;
  }
}

void GpuRows::search(const Query& query, const Hits& hits) {
  torchclip_cuda_query asked{};
  asked.size = sizeof asked;
  asked.k = query.k;
  asked.values = query.data;
  asked.count = query.count;
  asked.allowed = query.filter.bits;
  asked.allowed_rows = query.filter.rows;
  call(table_.search_rows, on_gpu_.get(), &asked, hits.indices, hits.scores);
}

torchclip_cuda_rows_counts GpuRows::counts() const {
  torchclip_cuda_rows_counts counts{};
  table_.rows_counts(on_gpu_.get(), &counts);
  return counts;
}

}  // namespace torchclip::core
