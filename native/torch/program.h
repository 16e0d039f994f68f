// What the core passes over the boundary (backend/torch_table.h), in C++.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/torch_table.h"
#include "libtorch.h"
#include "model/config/layout.h"

namespace torchclip::libtorch {

using namespace core;

std::vector<ModuleSource> modules_of(const torchclip_program& program);

// The type in which the values of a tensor are stored.
c10::ScalarType stored_type(const torchclip_tensor& tensor);

std::vector<std::int64_t> shape_of(const torchclip_tensor& tensor);

// Lets libtorch read a file of the core; valid while the call lasts that passed the file. Reading throws the failures
// of the core as Error.
std::shared_ptr<caffe2::serialize::ReadAdapterInterface> file_reader(const torchclip_file& file);

}  // namespace torchclip::libtorch
