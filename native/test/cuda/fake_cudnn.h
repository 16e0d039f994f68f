// A model of cuDNN's graph API on the host. It refuses descriptors that lack an attribute or have one of another type,
// computes what the tensors and operations of a graph say, and counts what is not given back.
#pragma once

#include <cstdint>
#include <string>

#include "cudnn_library.h"

namespace torchclip::cuda::fake_cudnn {

// How the model behaves.
struct Settings {
  bool is_missing = false;
  int failing_call = -1;              // The number of the call that fails, from 0.
  std::int64_t engines = 3;           // What the heuristics find.
  std::int64_t refusing_engine = -1;  // An engine whose plans are refused.
  std::int64_t roomy_engine = -1;     // An engine whose plans need 1 GiB.
  bool refuses_to_run = false;
  bool ignores_beta = false;  // Computes every swish with a beta of 1.
};

struct Counts {
  int calls = 0, opened = 0;
  int descriptors = 0, handles = 0;  // not given back
  int executed = 0;
};

Settings& settings();
const Counts& counts();
// Forgets settings and counts.
void reset();

const cudnn::Functions* open(std::string& problem);

}  // namespace torchclip::cuda::fake_cudnn
