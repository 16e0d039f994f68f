#include "caller.h"

#include "test_device.h"

namespace torchclip::gpu_check {

PinnedPixels::PinnedPixels(const std::vector<std::uint8_t>& pixels) : device_(cuda::test_device()) {
  data_ = static_cast<std::uint8_t*>(device_->host_slot(0, pixels.size()));
  std::copy(pixels.begin(), pixels.end(), data_);
}

Caller::Caller(const Subject& of, const std::string& precision, std::int64_t most_rows)
    : subject(of), most(most_rows), model(of.on_gpu(precision)), pixels(repeated_pixels(of, most_rows)) {
  for (auto& rows : out) rows.resize(static_cast<std::size_t>(most * of.shape.embed));
}

double Caller::speed(std::int64_t batch, int calls) {
  const double seconds = seconds_of([&] {
    for (int i = 0; i < calls; ++i) encode(batch);
  });
  return static_cast<double>(batch) * calls / seconds;
}

double Caller::speed_ahead(const std::uint8_t* from, std::int64_t batch, int calls) {
  const double seconds = seconds_of([&] {
    std::uint64_t before = 0;  // the call before; 0: there is none
    for (int i = 0; i < calls; ++i) {
      std::uint64_t call = 0;
      cuda::EncodeOptions options{true, nullptr};
      options.call = &call;
      model->encode_pixels(from, batch, out[i % 2].data(), options);
      if (before) model->finish_call(before);
      before = call;
    }
    if (before) model->finish_call(before);
  });
  return static_cast<double>(batch) * calls / seconds;
}

}  // namespace torchclip::gpu_check
