// Fibers: threads of the emulated GPU, which take turns in one thread of the host.
#pragma once

#include <cstddef>
#include <memory>

namespace torchclip::cuda::host {

// A place in a program that can be left and returned to: a fiber's, or that of what switches to fibers.
class Place {
 public:
  Place();
  ~Place();
  Place(Place&&) noexcept;

  // Where `run` begins, on a stack of its own. It must not return. The memory of the stack must outlive the place.
  void begin_with(void (*run)(), void* stack, std::size_t stack_bytes);

  // Leaves the place that the program is at, and goes on at another one. Returns when something switches back.
  void switch_to(Place& other);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace torchclip::cuda::host
