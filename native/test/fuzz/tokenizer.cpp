// A tokenizer.json of a foreign artifact, and texts that it cuts: tokenizer.json, NUL, torchclip.json, NUL, text.
#include "text/tokenizer.h"

#include <string>

#include "fuzz.h"

using namespace torchclip;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::text_of(data, size);
  const auto first = bytes.find('\0');
  const auto second = first == std::string_view::npos ? first : bytes.find('\0', first + 1);
  if (second == std::string_view::npos) return 0;
  const auto text = bytes.substr(second + 1);
  fuzz::accepts([&] {
    const core::Tokenizer tokenizer(std::string(bytes.substr(0, first)),
                                    std::string(bytes.substr(first + 1, second - first - 1)));
    const auto ids = tokenizer.encode(text);
    fuzz::expect(ids.size() >= 2 && ids.back() == tokenizer.end_id(), "start and end are there");
  });
  return 0;
}
