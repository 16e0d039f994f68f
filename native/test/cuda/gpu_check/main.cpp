// The part of scripts/gpu-check that measures, in stages. Each row of the results is written as soon as it is measured.
//   gpu_check [--stage NAME[,NAME ...]] [--all] [--dry-run] [--images FOLDER] [--json FILE]
// Stages: model (accuracy against the CPU, speed, latency, memory, components, the CPU's speed), host (from host
// memory, two models at once, a full device), texts (of mixed lengths), search (top-k), jpeg (files in FOLDER, NAME.jpg
// beside NAME.ppm).
// --all: four shapes instead of two. --dry-run: a small model on the device that this is built for, to prove the
// program; its numbers mean nothing. Exit code: 0, 1 if something that is asserted is not so, 2 for wrong arguments.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <sstream>
#include <string>
#include <vector>

#include "measure.h"
#include "test_device.h"

namespace torchclip::gpu_check {
namespace {

struct Stage {
  const char* name;
  void (*run)(Run&);
};

constexpr Stage kStages[] = {{"model", model_stage},
                             {"host", host_stage},
                             {"texts", texts_stage},
                             {"search", search_stage},
                             {"jpeg", jpeg_stage}};

std::vector<std::string> listed(const std::string& text) {
  std::vector<std::string> names;
  std::istringstream in(text);
  for (std::string name; std::getline(in, name, ',');) names.push_back(name);
  return names;
}

bool is_stage(const std::string& name) {
  return std::any_of(std::begin(kStages), std::end(kStages), [&](const Stage& stage) { return name == stage.name; });
}

// Whether the arguments are understood.
bool read_arguments(int count, char** arguments, Options& options) {
  for (int i = 1; i < count; ++i) {
    const std::string name = arguments[i];
    const bool has_value = i + 1 < count;
    if (name == "--all") {
      options.all = true;
    } else if (name == "--dry-run") {
      options.dry = true;
    } else if (name == "--stage" && has_value) {
      options.stages = listed(arguments[++i]);
    } else if (name == "--images" && has_value) {
      options.images = arguments[++i];
    } else if (name == "--json" && has_value) {
      options.json = arguments[++i];
    } else {
      return false;
    }
  }
  return std::all_of(options.stages.begin(), options.stages.end(), is_stage);
}

// Runs the stages that are asked for, one after another; one that cannot go on does not keep the others from running.
int run_stages(const Options& options) {
  Report report(options.json);
  report.always("gpu", cuda::test_device()->name());
  Run run{options, report};
  for (const auto& stage : kStages) {
    const auto& wanted = options.stages;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), stage.name) == wanted.end()) continue;
    std::printf("-- %s\n", stage.name);
    double seconds = 0;
    try {
      seconds = seconds_of([&] { stage.run(run); });
    } catch (const std::exception& e) {
      report.expect(false, stage.name, std::string(stage.name) + " ended early: " + e.what());
    }
    std::printf("-- %s: %.1f s\n", stage.name, seconds);
  }
  std::printf("%d of %d expectations met\n", report.expectations() - report.failures(), report.expectations());
  return report.failures() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace torchclip::gpu_check

int main(int count, char** arguments) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // what is printed is there if the program is killed
  torchclip::gpu_check::Options options;
  if (!torchclip::gpu_check::read_arguments(count, arguments, options)) {
    std::fprintf(
        stderr,
        "usage: %s [--stage model,host,texts,search,jpeg] [--all] [--dry-run] [--images FOLDER] [--json FILE]\n",
        arguments[0]);
    return 2;
  }
  try {
    return torchclip::gpu_check::run_stages(options);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
