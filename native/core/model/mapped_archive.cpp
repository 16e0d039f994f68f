#include "model/mapped_archive.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "runtime/error.h"

namespace torchclip::core {
namespace {

// Smaller tensors are read as ever. More than the zip reader's own buffer, so that no read of a compressed record looks
// like one of a whole tensor.
constexpr std::size_t kLarge = 1 << 17;

struct Mapping {
  void* data = MAP_FAILED;
  std::size_t size = 0;
  ~Mapping() {
    if (data != MAP_FAILED) munmap(data, size);
  }
};

}  // namespace

class MappedArchive::Adapter final : public caffe2::serialize::ReadAdapterInterface {
 public:
  explicit Adapter(const std::string& path) : mapping(std::make_shared<Mapping>()) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat about {};
    if (file >= 0 && fstat(file, &about) == 0 && about.st_size > 0) {
      mapping->size = static_cast<std::size_t>(about.st_size);
      mapping->data = mmap(nullptr, mapping->size, PROT_READ, MAP_PRIVATE, file, 0);
    }
    if (file >= 0) close(file);
    if (mapping->data == MAP_FAILED) {
      throw Error(TORCHCLIP_E_MODEL_CORRUPT, path + " cannot be mapped into memory: " + std::strerror(errno));
    }
  }

  std::size_t size() const override { return mapping->size; }

  std::size_t read(std::uint64_t position, void* buffer, std::size_t n, const char*) const override {
    if (position >= mapping->size) return 0;
    n = std::min<std::size_t>(n, mapping->size - position);
    const auto* from = static_cast<const char*>(mapping->data) + position;
    const auto at = tensors.find(position);
    const bool skipped = at != tensors.end() && at->second == n;
    if (!skipped) std::memcpy(buffer, from, n);
    std::lock_guard lock(mutex);
    if (skipped) unread[buffer] = from;
    read_[buffer] = n;
    return n;
  }

  std::shared_ptr<Mapping> mapping;
  std::unordered_map<std::uint64_t, std::size_t> tensors;  // large ones: size by position in the file
  mutable std::mutex mutex;
  mutable std::unordered_map<const void*, const char*> unread;  // by the memory that libtorch holds for them
  mutable std::unordered_map<const void*, std::size_t> read_;   // bytes that were read into a piece of memory
};

MappedArchive::MappedArchive(const std::string& path) : adapter_(std::make_shared<Adapter>(path)) {
  caffe2::serialize::PyTorchStreamReader reader(adapter_);
  for (const auto& name : reader.getAllRecords()) {
    if (name.rfind("data/", 0) != 0) continue;
    const std::size_t size = reader.getRecordSize(name);
    if (size > kLarge) adapter_->tensors.emplace(reader.getRecordOffset(name), size);
  }
}

MappedArchive::~MappedArchive() = default;

torch::jit::Module MappedArchive::load(torch::jit::ExtraFilesMap& extra) {
  auto module = torch::jit::load(adapter_, c10::kCPU, extra);
  // libtorch believes the pickle about a tensor's size, whatever the record holds: reading it would go beyond.
  const auto one = [&](const at::Tensor& tensor) {
    if (!tensor.defined() || !tensor.has_storage() || tensor.storage().nbytes() == 0) return;
    const auto at = adapter_->read_.find(tensor.storage().data());
    if (at == adapter_->read_.end() || at->second < tensor.storage().nbytes()) {
      throw Error(TORCHCLIP_E_MODEL_CORRUPT, "a tensor is larger than its record in the archive");
    }
  };
  const std::function<bool(const c10::IValue&)> visit = [&](const c10::IValue& value) {
    if (value.isTensor()) one(value.toTensor());
    return false;
  };
  c10::IValue(module._ivalue()).visit(visit);
  const std::function<void(const torch::jit::Block*)> constants = [&](const torch::jit::Block* block) {
    for (const auto* node : block->nodes()) {
      for (const auto* inner : node->blocks()) constants(inner);
      if (node->kind() != c10::prim::Constant) continue;
      if (const auto value = torch::jit::toIValue(node->output())) value->visit(visit);
    }
  };
  for (const auto& part : module.modules()) {
    for (const auto& method : part.get_methods()) constants(method.graph()->block());
  }
  return module;
}

at::Tensor MappedArchive::values(const at::Tensor& tensor) const {
  const auto at = adapter_->unread.find(tensor.storage().data());
  if (at == adapter_->unread.end()) return tensor;
  const auto offset = tensor.storage_offset() * static_cast<std::int64_t>(tensor.element_size());
  return at::from_blob(const_cast<char*>(at->second) + offset, tensor.sizes(), tensor.strides(), tensor.options());
}

std::shared_ptr<const void> MappedArchive::keep() const { return adapter_->mapping; }

void MappedArchive::fill(torch::jit::Module& module) const {
  std::unordered_set<const void*> done;
  const auto one = [&](const at::Tensor& tensor) {
    const auto& storage = tensor.storage();
    const auto at = adapter_->unread.find(storage.data());
    if (at == adapter_->unread.end() || !done.insert(at->first).second) return;
    std::memcpy(storage.mutable_data(), at->second, storage.nbytes());
  };
  c10::IValue(module._ivalue()).visit([&](const c10::IValue& value) {
    if (value.isTensor() && value.toTensor().defined() && value.toTensor().has_storage()) one(value.toTensor());
    return false;
  });
}

}  // namespace torchclip::core
