// Events of CUDA, and the time between two points of a stream.
#pragma once

#include <cuda_runtime.h>

#include "cuda_check.h"
#include "numbers.h"

namespace torchclip::cuda {

class Event {
 public:
  explicit Event(unsigned flags = cudaEventDisableTiming) {
    check(cudaEventCreateWithFlags(&event_, flags), "an event");
  }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(cudaStream_t stream) { check(cudaEventRecord(event_, stream), "an event's recording"); }
  void hold(cudaStream_t stream) { check(cudaStreamWaitEvent(stream, event_, 0), "waiting for an event"); }
  void wait() { check(cudaEventSynchronize(event_), "the GPU's work"); }
  // Both events with timing.
  float milliseconds_since(const Event& first) const {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, first.event_, event_), "the time between two events");
    return milliseconds;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

// Measures the time between two points of a stream.
class Timer {
 public:
  explicit Timer(Stream stream) : stream_(static_cast<cudaStream_t>(stream)) {}
  void begin() { first_.record(stream_); }
  // Waits; returns the milliseconds since begin().
  float end() {
    last_.record(stream_);
    last_.wait();
    return last_.milliseconds_since(first_);
  }

 private:
  cudaStream_t stream_;
  Event first_{cudaEventDefault}, last_{cudaEventDefault};
};

}  // namespace torchclip::cuda
