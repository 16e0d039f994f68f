// Which files the engines of a GPU decode together, and what happens to those that they do not decode.
#include "jpeg_jobs.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "check.h"

using namespace torchclip::cuda;

namespace {

// The first byte of a file says what decodes it: 'E' the engines or a lane, 'L' a lane alone, 'D' (damaged) nothing,
// though the engines accept it. A decoded image is the second byte.
class TestEngines final : public JpegEngines {
 public:
  bool accepts(const JpegJob& job, std::int64_t lane) override {
    most_lane = std::max(most_lane.load(), lane);
    return job.data[0] != 'L';
  }
  bool decode(const std::vector<JpegJob*>& jobs) override {
    sizes.push_back(jobs.size());
    for (auto* job : jobs) {
      if (job->data[0] == 'D') return false;
      job->out[0] = job->data[1];
    }
    return true;
  }

  std::vector<std::size_t> sizes;  // Of the batches.
  std::atomic<std::int64_t> most_lane{0};
};

struct Files {
  explicit Files(const std::string& kinds) : out(kinds.size()) {
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      bytes.push_back({static_cast<std::uint8_t>(kinds[i]), static_cast<std::uint8_t>(100 + i)});
    }
    for (std::size_t i = 0; i < kinds.size(); ++i) jobs.push_back({bytes[i].data(), 2, 1, 1, &out[i]});
  }

  // Decodes all and returns how many of them lanes decoded, or tried to.
  int decode(JpegEngines* engines, unsigned threads, std::int64_t lanes) {
    Workers workers(threads);
    std::atomic<int> alone{0};
    std::mutex mutex;
    std::set<std::int64_t> busy;
    const auto decode_one = [&](JpegJob& job, std::int64_t lane) {
      {
        std::lock_guard lock(mutex);
        lanes_are_apart = busy.insert(lane).second && lane < lanes && lanes_are_apart;
      }
      ++alone;
      job.done = job.data[0] != 'D';
      if (job.done) job.out[0] = job.data[1];
      std::lock_guard lock(mutex);
      busy.erase(lane);
    };
    JpegJobs all(engines, lanes, workers, decode_one);
    by_engines = all.decode(jobs.data(), static_cast<std::int64_t>(jobs.size()));
    return alone;
  }

  // Whether every file is decoded but the damaged ones.
  bool all_decoded() const {
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      if (jobs[i].done != (bytes[i][0] != 'D')) return false;
      if (jobs[i].done && out[i] != 100 + i) return false;
    }
    return true;
  }

  std::vector<std::vector<std::uint8_t>> bytes;
  std::vector<std::uint8_t> out;
  std::vector<JpegJob> jobs;
  std::int64_t by_engines = 0;
  bool lanes_are_apart = true;
};

}  // namespace

TEST_CASE("without engines the lanes decode every file") {
  for (const unsigned threads : {1u, 4u}) {
    Files files("EELDEL");
    CHECK(files.decode(nullptr, threads, 4) == 6);
    CHECK(files.all_decoded());
    CHECK(files.lanes_are_apart);
  }
}

TEST_CASE("the engines decode the files that they accept in one batch, the lanes the others") {
  for (const unsigned threads : {1u, 4u}) {
    Files files("EELELLE");
    TestEngines engines;
    CHECK(files.decode(&engines, threads, 3) == 3);
    CHECK(files.by_engines == 4);
    CHECK(engines.sizes == std::vector<std::size_t>{4});
    CHECK(engines.most_lane < 3);
    CHECK(files.all_decoded());
    CHECK(files.lanes_are_apart);
  }
}

TEST_CASE("a damaged file of a batch fails alone") {
  for (const unsigned threads : {1u, 4u}) {
    Files files("EEDEL");
    TestEngines engines;
    CHECK(files.decode(&engines, threads, 2) == 5);
    CHECK(files.by_engines == 0);
    CHECK(engines.sizes == std::vector<std::size_t>{4});
    CHECK(files.all_decoded());
    CHECK(files.lanes_are_apart);
  }
}

TEST_CASE("files of one kind alone, and no file") {
  for (const std::string kinds : {"EEE", "LLL", "E", "L", ""}) {
    CAPTURE(kinds);
    Files files(kinds);
    TestEngines engines;
    files.decode(&engines, 4, 4);
    CHECK(engines.sizes.size() == (kinds.rfind('E') == std::string::npos ? 0 : 1));
    CHECK(files.all_decoded());
  }
}
