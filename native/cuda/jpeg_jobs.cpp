#include "jpeg_jobs.h"

#include <algorithm>
#include <atomic>
#include <utility>

namespace torchclip::cuda {

JpegJobs::JpegJobs(JpegEngines* engines, std::int64_t lanes, Workers& workers, DecodeOne decode_one)
    : engines_(engines), lanes_(lanes), workers_(workers), decode_one_(std::move(decode_one)) {}

std::int64_t JpegJobs::decode(JpegJob* jobs, std::int64_t count) {
  const auto accepted = accepted_by_engines(jobs, count);
  std::vector<JpegJob*> together, alone;
  for (std::size_t i = 0; i < accepted.size(); ++i) (accepted[i] ? together : alone).push_back(jobs + i);
  bool succeeded = false;
  if (together.empty()) {
    decode_alone(alone);
  } else {
    decode_alone(alone, [&] { succeeded = engines_->decode(together); });
  }
  if (!succeeded) {
    decode_alone(together);
    return 0;
  }
  for (auto* job : together) job->done = true;
  return static_cast<std::int64_t>(together.size());
}

std::vector<std::uint8_t> JpegJobs::accepted_by_engines(const JpegJob* jobs, std::int64_t count) {
  std::vector<std::uint8_t> accepted(static_cast<std::size_t>(count));
  if (!engines_) return accepted;
  on_lanes(count, [&](std::int64_t job, std::int64_t lane) {
    accepted[static_cast<std::size_t>(job)] = engines_->accepts(jobs[job], lane);
  });
  return accepted;
}

void JpegJobs::decode_alone(const std::vector<JpegJob*>& jobs, const std::function<void()>& beside) {
  const auto work = [&](std::int64_t job, std::int64_t lane) {
    decode_one_(*jobs[static_cast<std::size_t>(job)], lane);
  };
  on_lanes(static_cast<std::int64_t>(jobs.size()), work, beside);
}

void JpegJobs::on_lanes(std::int64_t count, const std::function<void(std::int64_t, std::int64_t)>& work,
                        const std::function<void()>& beside) {
  std::atomic<std::int64_t> next{0};
  const std::int64_t others = beside ? 1 : 0;
  workers_.run(std::min(lanes_, count) + others, [&](std::int64_t i) {
    if (i < others) return beside();
    for (std::int64_t job; (job = next++) < count;) work(job, i - others);
  });
}

}  // namespace torchclip::cuda
