// What only a GPU can show: libtorch's current stream, page-locked input, and memory of the driver's own.
//   gpu_device_test ARTIFACT
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "check.h"
#include "model.h"
#include "model/artifact/artifact.h"
#include "model/config/pixel_table.h"
#include "model_inputs.h"
#include "model_source.h"
#include "pinned.h"
#include "test_device.h"

using namespace torchclip::cuda;
using namespace torchclip::test;
namespace core = torchclip::core;

namespace {

// The artifact's model on the GPU, and images for it.
struct GpuModel {
  explicit GpuModel(std::int64_t images)
      : rows(images), model(make_model(test_device(TestDevice{}), source_of(file, table))) {
    for (std::int64_t i = 0; i < rows; ++i) {
      const auto image =
          striped_image(file.config().image_size, file.config().image_size, static_cast<std::uint32_t>(i % 5 + 1));
      pixels.insert(pixels.end(), image.begin(), image.end());
    }
  }

  Rows encoded(const std::uint8_t* from) {
    Rows out(static_cast<std::size_t>(rows * file.config().embed_dim));
    model->encode_pixels(from, rows, out.data(), {true});
    return out;
  }

  const core::Artifact file{arguments().at(0)};
  const core::PixelTable table{file.config().mean.data(), file.config().std.data()};
  std::int64_t rows;
  std::unique_ptr<Model> model;
  std::vector<std::uint8_t> pixels;
};

}  // namespace

TEST_CASE("a model leaves libtorch's current stream of the thread as it was") {
  test_device();  // ends the test where there is no GPU
  const auto before = c10::cuda::getCurrentCUDAStream(0);
  {
    GpuModel gpu(3);
    for (int call = 0; call < 3; ++call) gpu.encoded(gpu.pixels.data());  // uncaptured, captured, replayed
    CHECK(c10::cuda::getCurrentCUDAStream(0) == before);
  }
  CHECK(c10::cuda::getCurrentCUDAStream(0) == before);
}

TEST_CASE("images in page-locked memory, which are copied from there, embed as others do") {
  for (const std::int64_t rows : {3, 300}) {
    GpuModel gpu(rows);
    Pinned memory;
    auto* locked = static_cast<std::uint8_t*>(memory.grow(gpu.pixels.size()));
    REQUIRE(is_pinned(locked));
    std::copy(gpu.pixels.begin(), gpu.pixels.end(), locked);
    for (int call = 0; call < 3; ++call) {
      const auto expected = gpu.encoded(gpu.pixels.data());
      CHECK(first_difference(gpu.encoded(locked), expected) == "");
    }
  }
}

TEST_CASE("TORCHCLIP_CUDA_PLAIN_MEMORY: arrays come from the driver, and results are the same") {
  GpuModel usual(3);
  const auto expected = usual.encoded(usual.pixels.data());
  setenv("TORCHCLIP_CUDA_PLAIN_MEMORY", "1", 1);
  const auto device = test_device();
  const auto before = device->counts().reserved_bytes;
  const auto memory = device->allocate(64 << 20);
  CHECK(device->counts().reserved_bytes == before);
  GpuModel plain(3);
  unsetenv("TORCHCLIP_CUDA_PLAIN_MEMORY");
  const auto got = plain.encoded(plain.pixels.data());
  CHECK(1 - least_cosine(got, expected, plain.file.config().embed_dim) < 1e-6);
}
