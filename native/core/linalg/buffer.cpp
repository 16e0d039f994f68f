#include "linalg/buffer.h"

#include "base/platform_memory.h"

namespace torchclip::core {

Buffer::Buffer(std::size_t bytes) : data_(allocate_block(bytes)), bytes_(bytes) {}

}  // namespace torchclip::core
