// Which .npy files an index is opened from, and what is said of the others.
#include "search/npy.h"

#include <sys/stat.h>

#include <string>
#include <string_view>

#include "check.h"
#include "files.h"

using namespace torchclip::core;
using namespace torchclip::test;

namespace {

const std::string kValues(4 * 3 * 8 * sizeof(float), '\0');

std::string header_of(const std::string& shape, const std::string& rest = "") {
  return "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + rest + ", }";
}

Outcome outcome_of_shape(const std::string& file) {
  return outcome_of([&] { read_npy_shape(std::string_view(file).substr(0, kMostNpyHeader), file.size(), "x.npy"); });
}

NpyShape shape_of(const std::string& file) { return read_npy_shape(file, file.size(), "x.npy"); }

}  // namespace

TEST_CASE("the shape of a float32 [rows, dim] file is read, however its header is written") {
  const auto plain = shape_of(npy_file(header_of("(12, 8)"), kValues));
  CHECK(plain.rows == 12);
  CHECK(plain.dim == 8);
  CHECK(plain.offset % 64 == 0);
  CHECK(shape_of(npy_file(header_of("(0, 8)"), "")).rows == 0);
  CHECK(shape_of(npy_file("{\"shape\":(2,8,),\"fortran_order\":False,\"descr\":\"<f4\"}", kValues)).rows == 2);
}

TEST_CASE("other shapes are refused") {
  for (const std::string shape :
       {"(4, 3, 8)", "(8,)", "()", "8", "(-1, 8)", "(12, 8", "(1e3, 8)", "(99999999999999999999, 8)", "(2147483648, 8)",
        "(12, 0)", "(1, 65537)", "(13, 8)", "(12, 8) 1", "(4611686018427387904, 8)"}) {
    CAPTURE(shape);
    CHECK(outcome_of_shape(npy_file(header_of(shape), kValues)) == TORCHCLIP_E_INDEX_CORRUPT);
  }
}

TEST_CASE("other headers are refused") {
  for (const std::string& header :
       {header_of("(12, 8)", ", 'shape': (1, 8)"), header_of("(12, 8)", ", 'more': 1"),
        std::string("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 8)}"),
        std::string("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 8)}"),
        std::string("{'descr': '<f4', 'shape': (1, 8)}"), std::string("{"), std::string(), std::string("{'descr")}) {
    CAPTURE(header);
    CHECK(outcome_of_shape(npy_file(header, kValues)) == TORCHCLIP_E_INDEX_CORRUPT);
  }
}

TEST_CASE("a file that ends early is refused, wherever it ends") {
  const std::string file = npy_file(header_of("(1, 8)"), std::string(32, '\0'));
  for (std::size_t length = 0; length < file.size(); ++length) {
    CAPTURE(length);
    CHECK(outcome_of_shape(file.substr(0, length)) == TORCHCLIP_E_INDEX_CORRUPT);
  }
}

TEST_CASE("a header of up to 4 GiB is refused") {
  std::string huge = npy_file(header_of("(1, 8)"), std::string(32, '\0'));
  huge[6] = 2;  // the version whose header has a length of 32 bits
  for (std::size_t i = 8; i < 12; ++i) huge[i] = '\x7f';
  CHECK(outcome_of_shape(huge) == TORCHCLIP_E_INDEX_CORRUPT);
}

TEST_CASE("values that are not aligned are refused") {
  std::string unaligned = "\x93NUMPY";
  const std::string header = header_of("(1, 1)");
  unaligned += {1, 0, static_cast<char>(header.size() | 1), 0};
  unaligned += header + std::string(40, ' ');
  CHECK(outcome_of_shape(unaligned) == TORCHCLIP_E_INDEX_CORRUPT);
}

TEST_CASE("what is no file is refused and not waited for") {
  CHECK(outcome_of([] { map_npy("/no/such/file.npy"); }) == TORCHCLIP_E_INDEX_NOT_FOUND);
  CHECK(outcome_of([] { map_npy("/"); }) == TORCHCLIP_E_INDEX_CORRUPT);
  CHECK(outcome_of([] { map_npy("/dev/zero"); }) == TORCHCLIP_E_INDEX_CORRUPT);
  const TemporaryFile name;
  unlink(name.path().c_str());
  CHECK(mkfifo(name.path().c_str(), 0600) == 0);  // opening it must not wait for a writer
  CHECK(outcome_of([&] { map_npy(name.path()); }) == TORCHCLIP_E_INDEX_CORRUPT);
}

TEST_CASE("a file is mapped with its values") {
  const TemporaryFile file;
  file.write(npy_file({1, 2, 3, 4, 5, 6}, 3));
  const auto rows = map_npy(file.path());
  CHECK(rows.rows == 2);
  CHECK(rows.dim == 3);
  CHECK(rows.data[5] == 6);
  CHECK(rows.file->intact());
}
