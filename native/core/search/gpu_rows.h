// A copy of an index's rows in the memory of a GPU, where torchclip's own CUDA library searches them (native/cuda).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backend/cuda_table.h"
#include "search/scan.h"

namespace torchclip::core {

// For one thread at a time.
class GpuRows {
 public:
  static constexpr std::int32_t kMostK = 1024;

  // An empty copy on CUDA device `index`. `table` must outlive it.
  GpuRows(const torchclip_cuda_table& table, int index, std::int64_t dim);
  // On a device by its name, "cuda" or "cuda:N". Throws Error(E_ARGUMENT) for another name and
  // Error(E_CUDA_UNAVAILABLE), with what is missing, if that device or the library cannot be used.
  static std::unique_ptr<GpuRows> on(const std::string& device, std::int64_t dim);

  // Copies the rows that it does not have yet; it has the first ones of `rows`. Throws Error(E_OUT_OF_MEMORY) if the
  // GPU has no room, and what RowView::read throws.
  void follow(const RowView& rows);
  // Finds the k best rows of each query as Index::search does; k <= kMostK.
  void search(const Query& query, const Hits& hits);

  // Of the GPU's memory, and the ways in which queries were answered.
  torchclip_cuda_rows_counts counts() const;

 private:
  const torchclip_cuda_table& table_;
  const std::int64_t dim_;
  std::int64_t rows_ = 0;
  std::unique_ptr<torchclip_cuda_rows, void (*)(torchclip_cuda_rows*)> on_gpu_;
};

}  // namespace torchclip::core
