// Artifacts of any families: each tower that CUDA has for them is compared with TorchScript in float32.
// test/models/families.test.ts writes the artifacts and runs it; scripts/family-artifacts.ts writes them for a machine
// with a GPU.
//   cuda_families_test FOLDER
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "check.h"
#include "model_check.h"

namespace {

// The artifacts in a folder, by name.
std::vector<std::string> artifacts_in(const std::filesystem::path& folder) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".pt") paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

TEST_CASE("the CUDA towers agree with TorchScript for every family that they know") {
  const auto& arguments = torchclip::test::arguments();
  REQUIRE(arguments.size() == 1);
  const auto paths = artifacts_in(arguments[0]);
  REQUIRE(!paths.empty());
  for (const auto& path : paths) torchclip::cuda::check_model(path, false);
}
