#include "model/device_rows.h"

#include "backend/edge.h"

namespace torchclip::core {

DeviceRows::DeviceRows(const torchclip_torch_table& table, const Device& device, const float* values,
                       std::int64_t count, std::int32_t dim)
    : table_(table), rows_(nullptr, table.destroy_rows) {
  torchclip_torch_rows* made = nullptr;
  call(table_.make_rows, device.index, values, count, dim, &made);
  rows_.reset(made);
}

void DeviceRows::inner_products(const float* queries, std::int64_t count, float* out) const {
  call(table_.inner_products, rows_.get(), queries, count, out);
}

}  // namespace torchclip::core
