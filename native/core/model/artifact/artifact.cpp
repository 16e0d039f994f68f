#include "model/artifact/artifact.h"

#include <algorithm>
#include <mutex>
#include <set>

#include "base/error.h"
#include "base/platform_memory.h"
#include "model/artifact/number_type.h"

namespace torchclip::core {
namespace {

constexpr std::uint64_t kMostSettings = 1 << 20, kMostTokenizer = 64 << 20, kMostPickle = 8 << 20, kMostSmall = 1024;

[[noreturn]] void corrupt(const File& file, const std::string& what) {
  throw Error(TORCHCLIP_E_MODEL_CORRUPT, file.path() + " is not a whole torchclip artifact: " + what);
}

// Records that may be there and are never read: the code, files that another program added, libtorch's bookkeeping.
bool is_ignored(const std::string& name) {
  return name.starts_with("code/") || name.starts_with("extra/") || name.starts_with(".data/") ||
         name == ".format_version" || name == ".storage_alignment";
}

bool is_number(const std::string& text) {
  return !text.empty() && text.size() <= 9 && text.find_first_not_of("0123456789") == std::string::npos;
}

bool is_read(const std::string& name) {
  static const std::set<std::string> fixed = {"data.pkl",  "constants.pkl",        "version",
                                              "byteorder", "extra/torchclip.json", "extra/tokenizer.json"};
  return fixed.count(name) != 0 || (name.starts_with("data/") && is_number(name.substr(5)));
}

// The size of what one task reads, which stays in a core's second cache between reading and widening.
constexpr std::int64_t kBlockElements = 128 << 10;

// Memory for the values of one tensor at a time; fresh memory would cost a page fault every 4 KiB.
class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  std::shared_ptr<float> take(std::size_t bytes) {
    auto block = free_block();
    if (block.bytes < bytes) block = {allocate_block(bytes), bytes};
    auto* data = static_cast<float*>(block.data.get());
    return {data, [pool = weak_from_this(), block = std::move(block)](float*) {
              if (const auto alive = pool.lock()) alive->give_back(block);
            }};
  }

 private:
  struct Block {
    std::shared_ptr<void> data;
    std::size_t bytes = 0;
  };

  Block free_block() {
    std::lock_guard lock(mutex_);
    if (free_.empty()) return {};
    auto block = std::move(free_.back());
    free_.pop_back();
    return block;
  }
  void give_back(const Block& block) {
    std::lock_guard lock(mutex_);
    if (free_.size() < 2) free_.push_back(block);
  }

  std::mutex mutex_;
  std::vector<Block> free_;
};

}  // namespace

std::int64_t StoredTensor::elements() const {
  std::int64_t count = 1;
  for (const auto axis : shape) count *= axis;
  return count;
}

Artifact::Artifact(const std::string& path) : file_(std::make_shared<File>(path)) {
  read_records();
  config_json_ = read_stored(*file_, record("extra/torchclip.json"), kMostSettings);
  tokenizer_json_ = read_stored(*file_, record("extra/tokenizer.json"), kMostTokenizer);
  try {
    config_ = ModelConfig::parse(config_json_);
    if (!config_.third_party) read_tensors();
  } catch (const Error& e) {
    if (e.status() != TORCHCLIP_E_MODEL_CORRUPT || std::string_view(e.what()).starts_with(path)) throw;
    corrupt(*file_, e.what());
  }
}

// Sorts the records by what becomes of them. All of them lie in one folder, whose name is of no importance.
void Artifact::read_records() {
  const auto found = read_zip_directory(*file_);
  if (found.empty()) corrupt(*file_, "it is empty");
  const auto folder = found.front().name.substr(0, found.front().name.find('/') + 1);
  if (folder.empty()) corrupt(*file_, "its records lie in no folder");
  for (const auto& record : found) {
    if (!record.name.starts_with(folder)) corrupt(*file_, "its records lie in several folders");
    auto name = record.name.substr(folder.size());
    if (is_read(name)) {
      if (!record.stored) corrupt(*file_, name + " is compressed");
      records_.emplace(std::move(name), record);
    } else if (name.starts_with("constants/")) {
      has_constants_ = true;
    } else if (!is_ignored(name)) {
      corrupt(*file_, "a record " + name.substr(0, 100) + " is of no known kind");
    }
  }
  if (!read_stored(*file_, record("byteorder"), kMostSmall).starts_with("little")) {
    corrupt(*file_, "its numbers are not little-endian");
  }
}

const ZipRecord& Artifact::record(const std::string& name) const {
  const auto found = records_.find(name);
  if (found == records_.end()) corrupt(*file_, name + " is missing");
  return found->second;
}

void Artifact::read_tensors() {
  // An artifact of torchclip has no constants: the pickle of an empty tuple.
  const auto constants = read_stored(*file_, record("constants.pkl"), kMostSmall);
  if (has_constants_ || constants != std::string("\x80\x02).", 4)) corrupt(*file_, "constants.pkl holds something");
  const auto pickle = read_stored(*file_, record("data.pkl"), kMostPickle);
  const auto module = read_module_pickle(pickle);
  config_.check_attributes(module.attributes);
  std::set<std::string> storages;
  for (const auto& [name, tensor] : module.tensors) {
    if (!storages.insert(tensor.storage).second) corrupt(*file_, name + " shares its storage with another tensor");
    tensors_.emplace(name, stored_tensor(name, tensor));
  }
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const auto& [name, tensor] : tensors_) shapes.emplace(name, tensor.shape);
  config_.check_shapes(shapes);
}

StoredTensor Artifact::stored_tensor(const std::string& name, const PickledTensor& tensor) const {
  StoredTensor stored;
  if (tensor.dtype == "torch\nFloatStorage") {
    stored.type = StoredType::f32;
  } else if (tensor.dtype == "torch\nHalfStorage") {
    stored.type = StoredType::f16;
  } else if (tensor.dtype == "torch\nBFloat16Storage") {
    stored.type = StoredType::bf16;
  } else {
    corrupt(*file_, name + " has an element type other than float32, float16 and bfloat16");
  }
  if (!is_number(tensor.storage)) corrupt(*file_, name + " lies in no record");
  const auto& place = record("data/" + tensor.storage);
  const std::uint64_t width = element_bytes(stored.type);
  const std::uint64_t available = place.bytes / width;
  // From the last axis to the first: each stride is the number of elements of the axes after it.
  std::uint64_t elements = 1;
  if (tensor.strides.size() != tensor.shape.size()) corrupt(*file_, name + " has another number of strides than axes");
  for (std::size_t axis = tensor.shape.size(); axis-- > 0;) {
    const auto size = tensor.shape[axis];
    if (size < 1 || static_cast<std::uint64_t>(size) > available / elements) {
      corrupt(*file_, name + " is larger than its record");
    }
    if (size > 1 && tensor.strides[axis] != static_cast<std::int64_t>(elements)) {
      corrupt(*file_, name + " is not stored row by row");
    }
    elements *= static_cast<std::uint64_t>(size);
  }
  if (tensor.offset < 0 || static_cast<std::uint64_t>(tensor.offset) > available ||
      elements > available - static_cast<std::uint64_t>(tensor.offset) || tensor.storage_elements < 0 ||
      static_cast<std::uint64_t>(tensor.storage_elements) > available) {
    corrupt(*file_, name + " is larger than its record");
  }
  stored.shape = tensor.shape;
  stored.offset = place.offset + static_cast<std::uint64_t>(tensor.offset) * width;
  stored.bytes = elements * width;
  return stored;
}

void Artifact::read_bytes(const StoredTensor& tensor, void* to) const {
  file_->read(tensor.offset, to, static_cast<std::size_t>(tensor.bytes));
}

void Artifact::read_floats(const StoredTensor& tensor, std::int64_t first, std::int64_t count, float* to) const {
  const auto width = element_bytes(tensor.type);
  const auto elements = static_cast<std::size_t>(count);
  // 16-bit values are read into the second half of `to` and widened from the front: value i is written to bytes 4i to
  // 4i + 3 and read from 2n + 2i, which is never before them.
  char* at = reinterpret_cast<char*>(to) + (sizeof(float) - width) * elements;
  file_->read(tensor.offset + static_cast<std::uint64_t>(first) * width, at, width * elements);
  if (tensor.type != StoredType::f32) widen(tensor.type, at, elements, to);
}

float Artifact::scalar(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end() || found->second.elements() != 1) corrupt(*file_, name + " is no single number");
  float value = 0;
  read_floats(found->second, 0, 1, &value);
  return value;
}

Weights Artifact::weights(const ParallelFor& parallel_for) const {
  const auto pool = std::make_shared<BufferPool>();
  return [this, pool, parallel_for](const std::string& name) -> Tensor {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return {};
    const auto& tensor = found->second;
    const auto elements = tensor.elements();
    const auto values = pool->take(static_cast<std::size_t>(elements) * sizeof(float));
    parallel_for((elements + kBlockElements - 1) / kBlockElements, [&](std::int64_t block) {
      const auto first = block * kBlockElements;
      read_floats(tensor, first, std::min(kBlockElements, elements - first), values.get() + first);
    });
    return {values.get(), tensor.shape, values};
  };
}

Weights Artifact::weights() const {
  return weights([](std::int64_t count, const std::function<void(std::int64_t)>& work) {
    for (std::int64_t i = 0; i < count; ++i) work(i);
  });
}

}  // namespace torchclip::core
