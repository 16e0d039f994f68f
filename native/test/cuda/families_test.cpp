// Artifacts of any families: each tower that CUDA has for them is compared with TorchScript in float32. A test of
// mocha, test/models/families.test.ts, writes the artifacts.
//   cuda_families_test ARTIFACT...
#include "check.h"
#include "model_check.h"

TEST_CASE("the CUDA towers agree with TorchScript for every family that they know") {
  const auto& paths = torchclip::test::arguments();
  REQUIRE(!paths.empty());
  for (const auto& path : paths) torchclip::cuda::check_model(path, false);
}
