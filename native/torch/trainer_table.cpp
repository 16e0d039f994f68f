#include "trainer_table.h"

#include "backend/edge.h"
#include "trainer.h"

struct torchclip_torch_trainer {
  torchclip::libtorch::Trainer trainer;
};

namespace torchclip::libtorch {
namespace {

int32_t make_trainer(const torchclip_torch_model* model, const torchclip_torch_training* training,
                     torchclip_torch_trainer** trainer, torchclip_backend_error* error) {
  return guarded(error, [&] {
    require_whole(*model);
    require_whole(*training);
    *trainer = new torchclip_torch_trainer{Trainer(*model, *training)};
  });
}

void destroy_trainer(torchclip_torch_trainer* trainer) { delete trainer; }

int32_t train_batch(torchclip_torch_trainer* trainer, const torchclip_training_batch* batch,
                    const torchclip_encode_options* options, torchclip_training_result* result,
                    torchclip_backend_error* error) {
  return guarded_encode(error, options, [&](Cancel cancel) {
    require_whole(*batch);
    *result = trainer->trainer.train(*batch, cancel);
  });
}

int32_t test_batch(torchclip_torch_trainer* trainer, const torchclip_training_batch* batch,
                   const torchclip_encode_options* options, torchclip_training_result* result,
                   torchclip_backend_error* error) {
  return guarded_encode(error, options, [&](Cancel cancel) {
    require_whole(*batch);
    *result = trainer->trainer.test(*batch, cancel);
  });
}

int32_t update_trained(torchclip_torch_trainer* trainer, double learning_rate, double* norm,
                       torchclip_backend_error* error) {
  return guarded(error, [&] { *norm = trainer->trainer.update(learning_rate); });
}

void discard_gradients(torchclip_torch_trainer* trainer) { trainer->trainer.discard_gradients(); }

int32_t read_trained(torchclip_torch_trainer* trainer, const char* name, int32_t part, int64_t count, float* to,
                     torchclip_backend_error* error) {
  return guarded(error, [&] { trainer->trainer.read(name, part, count, to); });
}

int32_t write_trained(torchclip_torch_trainer* trainer, const char* name, int32_t part, int64_t count,
                      const float* from, torchclip_backend_error* error) {
  return guarded(error, [&] { trainer->trainer.write(name, part, count, from); });
}

void set_steps(torchclip_torch_trainer* trainer, int64_t steps) { trainer->trainer.set_steps(steps); }

}  // namespace

void add_trainer(torchclip_torch_table& table) {
  table.make_trainer = make_trainer;
  table.destroy_trainer = destroy_trainer;
  table.train_batch = train_batch;
  table.update_trained = update_trained;
  table.discard_gradients = discard_gradients;
  table.test_batch = test_batch;
  table.read_trained = read_trained;
  table.write_trained = write_trained;
  table.set_steps = set_steps;
}

}  // namespace torchclip::libtorch
