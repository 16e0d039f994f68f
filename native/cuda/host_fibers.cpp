#include "host_fibers.h"

#include <setjmp.h>
#include <ucontext.h>

namespace torchclip::cuda::host {

struct Place::State {
  ucontext_t context{};  // where a fiber begins; with sanitizers, which know no jumps between stacks, every place
  jmp_buf jump{};
  bool was_left = false;
};

Place::Place() : state_(std::make_unique<State>()) {}
Place::~Place() = default;
Place::Place(Place&&) noexcept = default;

void Place::begin_with(void (*run)(), void* stack, std::size_t stack_bytes) {
  auto& context = state_->context;
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = stack_bytes;
  makecontext(&context, run, 0);
}

void Place::switch_to(Place& other) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  swapcontext(&state_->context, &other.state_->context);
#else
  // Unlike swapcontext, a jump needs no system call for the mask of signals.
  if (_setjmp(state_->jump) != 0) return;
  state_->was_left = true;
  if (other.state_->was_left) _longjmp(other.state_->jump, 1);
  setcontext(&other.state_->context);
#endif
}

}  // namespace torchclip::cuda::host
