// The JSON reader: any bytes give a value or an Error, and strings of valid text are UTF-8.
#include "base/json.h"

#include "fuzz.h"

using namespace torchclip;

namespace {

std::size_t count(const core::Json& value, int depth) {
  fuzz::expect(depth <= 65, "the depth is bounded");
  std::size_t found = 1 + value.text().size();
  for (const auto& item : value.items()) found += count(item, depth + 1);
  for (const auto& [name, member] : value.members()) {
    fuzz::expect(&value[name] == &member, "a member is found by its name");
    found += name.size() + count(member, depth + 1);
  }
  return found;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::accepts([&] {
    const auto value = core::Json::parse(fuzz::text_of(data, size));
    // A \u escape of 6 bytes is at most 3 bytes of UTF-8: a value holds no more than its text.
    fuzz::expect(count(value, 0) <= 2 * size + 1, "a value is not larger than its text");
  });
  return 0;
}
