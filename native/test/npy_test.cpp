// Which .npy files an index is opened from, and what is said of the others.
#include "search/npy.h"

#include <sys/stat.h>

#include "base/error.h"
#include "check.h"
#include "files.h"

using namespace torchclip::core;
using torchclip::test::npy_file;

namespace {

std::string text(const std::string& shape, const std::string& rest = "") {
  return "{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + rest + ", }";
}

int status(const std::string& file) {
  return torchclip::test::status_of<Error>(
      [&] { read_npy_shape(std::string_view(file).substr(0, kMostNpyHeader), file.size(), "x.npy"); });
}

NpyShape shape_of(const std::string& file) { return read_npy_shape(file, file.size(), "x.npy"); }

void test_shapes() {
  const std::string values(4 * 3 * 8 * sizeof(float), '\0');
  const auto plain = shape_of(npy_file(text("(12, 8)"), values));
  CHECK(plain.rows == 12 && plain.dim == 8 && plain.offset % 64 == 0);
  CHECK(shape_of(npy_file(text("(0, 8)"), "")).rows == 0);
  CHECK(shape_of(npy_file("{\"shape\":(2,8,),\"fortran_order\":False,\"descr\":\"<f4\"}", values)).rows == 2);

  for (const char* shape :
       {"(4, 3, 8)", "(8,)", "()", "8", "(-1, 8)", "(12, 8", "(1e3, 8)", "(99999999999999999999, 8)", "(2147483648, 8)",
        "(12, 0)", "(1, 65537)", "(13, 8)", "(12, 8) 1", "(4611686018427387904, 8)"}) {
    CHECK(status(npy_file(text(shape), values)) == TORCHCLIP_E_INDEX_CORRUPT);
  }
  CHECK(status(npy_file(text("(12, 8)", ", 'shape': (1, 8)"), values)) == TORCHCLIP_E_INDEX_CORRUPT);
  CHECK(status(npy_file(text("(12, 8)", ", 'more': 1"), values)) == TORCHCLIP_E_INDEX_CORRUPT);
  for (const char* header : {"{'descr': '<f8', 'fortran_order': False, 'shape': (1, 8)}",
                             "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 8)}",
                             "{'descr': '<f4', 'shape': (1, 8)}", "{", "", "{'descr"}) {
    CHECK(status(npy_file(std::string(header), values)) == TORCHCLIP_E_INDEX_CORRUPT);
  }
}

void test_beginnings() {
  const std::string file = npy_file(text("(1, 8)"), std::string(32, '\0'));
  for (std::size_t length = 0; length < file.size(); ++length) {
    CHECK(status(file.substr(0, length)) == TORCHCLIP_E_INDEX_CORRUPT);
  }
  std::string huge = file;
  huge[6] = 2;  // a header of up to 4 GiB
  for (int i = 8; i < 12; ++i) huge[static_cast<std::size_t>(i)] = '\x7f';
  CHECK(status(huge) == TORCHCLIP_E_INDEX_CORRUPT);
  std::string unaligned = "\x93NUMPY";
  const std::string header = text("(1, 1)");
  unaligned += {1, 0, static_cast<char>(header.size() | 1), 0};
  unaligned += header + std::string(40, ' ');
  CHECK(status(unaligned) == TORCHCLIP_E_INDEX_CORRUPT);
}

void test_files() {
  using torchclip::test::status_of;
  CHECK(status_of<Error>([] { map_npy("/no/such/file.npy"); }) == TORCHCLIP_E_INDEX_NOT_FOUND);
  CHECK(status_of<Error>([] { map_npy("/"); }) == TORCHCLIP_E_INDEX_CORRUPT);
  CHECK(status_of<Error>([] { map_npy("/dev/zero"); }) == TORCHCLIP_E_INDEX_CORRUPT);
  const torchclip::test::TemporaryFile name;
  unlink(name.path().c_str());
  CHECK(mkfifo(name.path().c_str(), 0600) == 0);  // opening it must not wait for a writer
  CHECK(status_of<Error>([&] { map_npy(name.path()); }) == TORCHCLIP_E_INDEX_CORRUPT);

  const torchclip::test::TemporaryFile file;
  file.write(npy_file({1, 2, 3, 4, 5, 6}, 3));
  const auto rows = map_npy(file.path());
  CHECK(rows.rows == 2 && rows.dim == 3 && rows.data[5] == 6 && rows.file->intact());
}

}  // namespace

int main() {
  test_shapes();
  test_beginnings();
  test_files();
  return torchclip::test::failures();
}
