// Token ids by the C ABI's tokenizer, for comparisons:
//   tokenize TOKENIZER.json TORCHCLIP.json < texts, each ended by NUL > a line of ids for each
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>

#include "base/error.h"
#include "text/tokenizer.h"

namespace {

std::string content(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return 2;
  try {
    const torchclip::core::Tokenizer tokenizer(content(arguments[1]), content(arguments[2]));
    std::string text;
    while (std::getline(std::cin, text, '\0')) {
      std::string line;
      for (const auto id : tokenizer.encode(text)) line += std::to_string(id) + " ";
      std::puts(line.c_str());
    }
  } catch (const torchclip::core::Error& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
