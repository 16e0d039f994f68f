#include "model/artifact/pickle_writer.h"

#include <cstring>
#include <limits>
#include <utility>

namespace torchclip::core {
namespace {

constexpr std::uint64_t kMost8 = 0xFF, kMost16 = 0xFFFF;

}  // namespace

PickleWriter::PickleWriter() : pickle_("\x80\x02") {}  // PROTO 2

void PickleWriter::text(const std::string& value) {
  const auto key = "text " + value;
  if (recall(key)) return;
  opcode('X');
  number(value.size(), 4);
  pickle_ += value;
  remember(key);
}

void PickleWriter::global(const std::string& module, const std::string& name) {
  const auto key = "global " + module + "\n" + name;
  if (recall(key)) return;
  opcode('c');
  pickle_ += module + "\n" + name + "\n";
  remember(key);
}

void PickleWriter::whole(std::int64_t value) {
  const auto bits = static_cast<std::uint64_t>(value);
  if (bits <= kMost8) {
    opcode('K');
    number(bits, 1);
  } else if (bits <= kMost16) {
    opcode('M');
    number(bits, 2);
  } else if (value >= std::numeric_limits<std::int32_t>::min() && value <= std::numeric_limits<std::int32_t>::max()) {
    opcode('J');
    number(bits, 4);
  } else {
    opcode('\x8a');  // LONG1
    number(sizeof value, 1);
    number(bits, sizeof value);
  }
}

void PickleWriter::real(double value) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  opcode('G');
  for (int shift = 56; shift >= 0; shift -= 8) pickle_ += static_cast<char>(bits >> shift & 0xFF);  // big-endian
}

void PickleWriter::no() { opcode('\x89'); }

std::string PickleWriter::finish() {
  opcode('.');
  return std::move(pickle_);
}

void PickleWriter::number(std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) pickle_ += static_cast<char>(value >> (8 * i) & 0xFF);
}

bool PickleWriter::recall(const std::string& key) {
  const auto found = memo_.find(key);
  if (found == memo_.end()) return false;
  const bool is_short = found->second <= kMost8;
  opcode(is_short ? 'h' : 'j');
  number(found->second, is_short ? 1 : 4);
  return true;
}

void PickleWriter::remember(const std::string& key) {
  const std::uint64_t place = memo_.size();
  memo_.emplace(key, place);
  const bool is_short = place <= kMost8;
  opcode(is_short ? 'q' : 'r');
  number(place, is_short ? 1 : 4);
}

}  // namespace torchclip::core
