#include "linalg/buffer.h"

namespace torchclip::core {

Buffer::Buffer(std::size_t bytes) : data_(allocate_block(bytes)), bytes_(bytes) {}

}  // namespace torchclip::core
