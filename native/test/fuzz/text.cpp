// UTF-8, Unicode tables and what is done to a text before it becomes tokens.
#include "fuzz.h"
#include "text/clean.h"
#include "text/mojibake.h"
#include "text/unicode.h"

using namespace torchclip;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::text_of(data, size);
  fuzz::accepts([&] {
    const auto text = core::from_utf8(bytes);
    fuzz::expect(core::to_utf8(text) == bytes, "UTF-8 comes back as it was");
    fuzz::expect(core::from_utf16(core::to_utf16(text)) == text, "so does UTF-16");
    const auto composed = core::normalize_nfc(text);
    fuzz::expect(core::normalize_nfc(composed) == composed, "NFC of NFC is NFC");
    core::lower(text);
    core::widths(text);
    core::final_sigmas(text);
    core::unescape_html(text);
    core::fix_encoding(text);
    // The longest character that an entity stands for, and what ftfy may put in the place of one, are a few times as
    // long.
    fuzz::expect(core::clean_as_openai(text).size() <= 8 * text.size() + 8, "cleaning does not blow a text up");
  });
  // Any 16-bit units, lone surrogates among them, as JavaScript hands them over.
  std::u16string units;
  for (std::size_t i = 0; i + 1 < size; i += 2) units += static_cast<char16_t>(data[i] | data[i + 1] << 8);
  const auto text = core::from_utf16(units);
  fuzz::expect(core::to_utf16(text) == units, "UTF-16 comes back as it was");
  core::fix_encoding(text);
  core::clean_as_openai(text);
  return 0;
}
