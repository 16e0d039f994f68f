#include "program.h"

#include <algorithm>

#include "backend/edge.h"

namespace torchclip::libtorch {
namespace {

class FileReader final : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit FileReader(const torchclip_file& file) : file_(file) {}

  std::size_t size() const override { return static_cast<std::size_t>(file_.bytes); }

  std::size_t read(std::uint64_t position, void* buffer, std::size_t bytes, const char*) const override {
    if (position >= file_.bytes) return 0;
    const auto count = std::min<std::uint64_t>(bytes, file_.bytes - position);
    call(file_.read, file_.context, position, count, buffer);
    return static_cast<std::size_t>(count);
  }

 private:
  torchclip_file file_;
};

}  // namespace

std::vector<ModuleSource> modules_of(const torchclip_program& program) {
  std::vector<ModuleSource> modules;
  for (std::uint64_t i = 0; i < program.module_count; ++i) {
    modules.push_back({program.modules[i].path, program.modules[i].source});
  }
  return modules;
}

c10::ScalarType stored_type(const torchclip_tensor& tensor) {
  switch (tensor.type) {
    case TORCHCLIP_STORED_F16:
      return at::kHalf;
    case TORCHCLIP_STORED_BF16:
      return at::kBFloat16;
    default:
      return at::kFloat;
  }
}

std::vector<std::int64_t> shape_of(const torchclip_tensor& tensor) {
  return {tensor.shape, tensor.shape + tensor.axes};
}

std::shared_ptr<caffe2::serialize::ReadAdapterInterface> file_reader(const torchclip_file& file) {
  return std::make_shared<FileReader>(file);
}

}  // namespace torchclip::libtorch
