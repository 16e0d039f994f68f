// The functions of the table that train.
#pragma once

#include "backend/torch_table.h"

namespace torchclip::libtorch {

// Sets them in a table.
void add_trainer(torchclip_torch_table& table);

}  // namespace torchclip::libtorch
