#include "model.h"

#include <algorithm>
#include <exception>
#include <utility>
#include <vector>

#include "base/error.h"
#include "calibration.h"
#include "calls_in_flight.h"
#include "resize_batch.h"
#include "text_tower.h"
#include "vit_tower.h"

namespace torchclip::cuda {
namespace {

core::Error without_fp8(const std::string& device) {
  return {
      TORCHCLIP_E_PRECISION,
      "fp8 needs a GPU that multiplies FP8 numbers (Ada, Hopper, Blackwell: compute capability 8.9 or higher), not " +
          device};
}

bool out_of_memory() { return core::current_failure().status == TORCHCLIP_E_OUT_OF_MEMORY; }

class DeviceModel final : public Model {
 public:
  DeviceModel(std::unique_ptr<Device> device, const ModelSource& source)
      : device_(std::move(device)),
        workspace_(*device_),
        transform_(source.transform),
        precision_(source.precision),
        dim_(source.embed_dim),
        deterministic_(source.deterministic) {
    const auto types = types_of(source.precision);
    const bool fp8 = types.products == DType::e4m3;
    if (fp8 && !device_->has_fp8()) throw without_fp8(device_->name());
    WeightLoader loader(*device_, source.weights, types);
    if (const auto s = VitSettings::of(source.config["image"]);
        source.images && s && fits(*s) && s->stem.empty() && s->pool != VitSettings::Pool::queries &&
        (s->pool != VitSettings::Pool::map || fits(s->width, s->pool_heads))) {
      images_ = std::make_unique<VitTower>(*device_, workspace_, loader, *s, source.pixels);
    }
    if (const auto s = TextSettings::of(source.config["text"]); source.texts && s && fits(*s) && !s->appended_token) {
      texts_ = std::make_unique<TextTower>(*device_, workspace_, loader, *s, source.context_length);
    }
    weight_bytes_ = loader.bytes();
    if (fp8) calibrate();
  }

  bool has_images() const override { return images_ != nullptr; }
  bool has_texts() const override { return texts_ != nullptr; }
  std::string name() const override { return precision_ + " (" + device_->name() + ")"; }
  MemoryUse memory() const override { return {weight_bytes_, workspace_.bytes()}; }

  DeviceCounts counts() const override { return device_->counts(); }

  void encode_pixels(const std::uint8_t* pixels, std::int64_t rows, float* out, const EncodeOptions& options) override {
    const std::int64_t bytes = images_->pixels(), dim = dim_of(options.output);
    passes(rows, images_->pass_rows(), options, [&](int slot, std::int64_t begin, std::int64_t count) {
      const auto* on =
          static_cast<std::uint8_t*>(device_->input_slot(slot, static_cast<std::size_t>(computed_rows(count) * bytes)));
      device_->upload_async(slot, pixels + begin * bytes, static_cast<std::size_t>(count * bytes));
      image_pass(slot, on, count, out + begin * dim, options);
      return count;
    });
  }

  void encode_tokens(const std::int32_t* ids, std::int64_t rows, std::int64_t length, float* out,
                     const EncodeOptions& options) override {
    passes(rows, rows, options, [&](int slot, std::int64_t begin, std::int64_t most) {
      std::int64_t taken = 0;
      const auto packed = texts_->pack(ids + begin * length, rows - begin, length, most, taken);
      const auto* on = static_cast<std::int32_t*>(device_->input_slot(slot, packed.data.size() * 4));
      device_->upload_async(slot, packed.data.data(), packed.data.size() * 4);
      auto* result = result_of(slot, packed.rows, dim_);
      device_->begin_batch(slot);
      text_run(on, packed, result, options.normalize);
      device_->end_batch(slot, out + begin * dim_, result, static_cast<std::size_t>(taken * dim_) * 4);
      return taken;
    });
  }

  void encode_images(const torchclip_image* images, std::int64_t count, float* out, std::uint8_t* failed,
                     const EncodeOptions& options) override;

  void finish_call(std::uint64_t call) override { calls_.finish(call); }

  double time_images(std::int64_t rows, int repeats) override {
    const std::int64_t most = images_->pass_rows();
    // With room for the padding of the last pass.
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>((rows + kCapturedRows) * images_->pixels()), 128);
    const auto memory = device_->allocate(pixels.size());
    device_->upload(memory.get(), pixels.data(), pixels.size());
    images_->reserve(computed_rows(most));
    auto* result = result_of(0, rows + kCapturedRows, dim_);
    return device_->time(repeats, [&] {
      for (std::int64_t done = 0; done < rows;) {
        const std::int64_t count = next_rows(done, rows - done, most, false);
        const auto* from = static_cast<std::uint8_t*>(memory.get()) + done * images_->pixels();
        image_run(from, computed_rows(count), result + done * dim_, {true});
        done += count;
      }
    });
  }

  double time_texts(std::int64_t rows, std::int64_t length, int repeats) override {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(rows * length), 1);
    for (std::int64_t r = 1; r <= rows; ++r) ids[static_cast<std::size_t>(r * length - 1)] = texts_->end_id();
    std::vector<PackedTexts> packed;
    std::vector<Memory> memory;
    for (std::int64_t begin = 0, taken = 0; begin < rows; begin += taken) {
      packed.push_back(texts_->pack(ids.data() + begin * length, rows - begin, length, rows, taken));
      const auto& data = packed.back().data;
      memory.push_back(device_->allocate(data.size() * 4));
      device_->upload(memory.back().get(), data.data(), data.size() * 4);
    }
    return device_->time(repeats, [&] {
      for (std::size_t i = 0; i < packed.size(); ++i) {
        text_run(static_cast<std::int32_t*>(memory[i].get()), packed[i], result_of(0, packed[i].rows, dim_), true);
      }
    });
  }

 private:
  // What the attention kernels take, in every dtype: heads of a multiple of 8, at most 256 wide.
  static bool fits(std::int64_t width, std::int64_t heads) {
    return heads > 0 && width % heads == 0 && width / heads % 8 == 0 && width / heads <= 256;
  }
  static bool fits(const BlockSettings& s) { return fits(s.width, s.heads) && s.mlp_width % 8 == 0; }

  // What the launches of a pass depend on, besides the shapes of its kind.
  static std::string key(const char* kind, const void* input, std::int64_t rows, const void* result, bool normalize) {
    const auto address = [](const void* p) { return std::to_string(reinterpret_cast<std::uintptr_t>(p)); };
    return std::string(kind) + (normalize ? " normalized " : " ") + address(input) + " " + std::to_string(rows) + " " +
           address(result);
  }

  // The floats of a row of an output of the image tower.
  std::int64_t dim_of(ImageOutput output) const { return output == ImageOutput::pooled ? images_->pooled_dim() : dim_; }

  float* result_of(int slot, std::int64_t rows, std::int64_t dim) {
    return static_cast<float*>(results_[slot].grow(*device_, static_cast<std::size_t>(rows * dim) * 4));
  }

  void text_run(const std::int32_t* data, const PackedTexts& texts, float* result, bool normalized) {
    const auto pass = [&] {
      texts_->pass(data, texts.rows, texts.tokens, result);
      if (normalized) normalize(device_->stream(), result, texts.rows, dim_);
    };
    if (texts.rows > kCapturedRows) return pass();
    const auto name = key("text", data, texts.rows, result, normalized) + " " + std::to_string(texts.tokens);
    device_->run_captured(name, pass);
  }

  // `pixels` and `result` hold `rows` images and rows of the output, padding included.
  void image_run(const std::uint8_t* pixels, std::int64_t rows, float* result, const EncodeOptions& options) {
    const auto output = options.output;
    const bool normalized = options.normalize;
    const auto pass = [&] {
      images_->pass(pixels, rows, output, result);
      if (normalized) normalize(device_->stream(), result, rows, dim_of(output));
    };
    if (rows > kCapturedRows) return pass();
    const char* kind = output == ImageOutput::pooled ? "pooled" : "image";
    device_->run_captured(key(kind, pixels, rows, result, normalized), pass);
  }

  void image_pass(int slot, const std::uint8_t* pixels, std::int64_t count, float* out, const EncodeOptions& options) {
    const std::int64_t rows = computed_rows(count), dim = dim_of(options.output);
    images_->reserve(std::max(rows, computed_rows(images_->pass_rows())));
    auto* result = result_of(slot, rows, dim);
    device_->begin_batch(slot);
    image_run(pixels, rows, result, options);
    device_->end_batch(slot, out, result, static_cast<std::size_t>(count * dim) * 4);
  }

  // Runs the towers on images and texts that are made here, so that the E4M3 products measure their inputs. Throws
  // Error(E_PRECISION) if the device's libraries do not compute them.
  void calibrate() {
    workspace_.set_calibrating(true);
    try {
      for (int batch = 0; batch < kCalibrationBatches; ++batch) {
        if (images_) calibrate_images(batch);
        if (texts_) calibrate_texts(batch);
      }
    } catch (const core::Error&) {
      throw;
    } catch (const std::exception& e) {  // of a library, whose products of E4M3 are computed here for the first time
      if (out_of_memory()) throw;
      throw core::Error(TORCHCLIP_E_PRECISION, "fp8 is not possible on " + device_->name() + ": " + e.what());
    }
    workspace_.set_calibrating(false);
    workspace_.release();
  }
  void calibrate_images(int batch);
  void calibrate_texts(int batch);

  // Calls pass(slot, first row, rows at most), which starts work and returns the rows taken, until all are done. Out of
  // memory: what is cached is freed, the pass halved and tried again. With options.call, the last passes are left to
  // finish_call, so that the next call's copies and launches need not wait for them.
  template <typename Pass>
  void passes(std::int64_t rows, std::int64_t most, const EncodeOptions& options, Pass&& pass) {
    if (deterministic_) most = 1;
    const std::uint64_t call = calls_.begin();
    bool has_begun = !options.call || !options.begun;
    for (std::int64_t done = 0; done < rows;) {
      const std::int64_t count = next_rows(done, rows - done, most, true);
      try {
        core::check_cancel(options.cancel);
        const int slot = calls_.free_slot(call);
        done += pass(slot, done, count);
        calls_.started(slot, call);
        if (!std::exchange(has_begun, true)) options.begun(options.context);
      } catch (...) {
        calls_.finish_all();
        if (!out_of_memory() || count == 1) calls_.forget(call);
        if (!out_of_memory()) throw;
        workspace_.release();
        device_->free_cache();
        if (count == 1) throw;
        most = (count + 1) / 2;
      }
    }
    if (options.call) {
      *options.call = call;
    } else {
      calls_.finish(call);
    }
  }

  // JPEG files that the device decodes, and the job of each image of the batch: kNoJob if it is no such file.
  static constexpr auto kNoJob = static_cast<std::size_t>(-1);
  struct DecodedJpegs {
    std::vector<JpegJob> jobs;
    std::vector<std::size_t> job_of;
  };
  DecodedJpegs decode_jpegs(int slot, const torchclip_image* images, std::int64_t count);
  ResizeBatch resize_batch_of(const torchclip_image* images, const DecodedJpegs& decoded, std::uint8_t* failed);

  std::unique_ptr<Device> device_;
  Workspace workspace_;
  core::Transform transform_;
  std::string precision_;
  std::int64_t dim_;
  bool deterministic_;
  std::unique_ptr<VitTower> images_;
  std::unique_ptr<TextTower> texts_;
  std::uint64_t weight_bytes_ = 0;
  GrowingMemory results_[Device::kSlots];
  CallsInFlight calls_{*device_};
};

void DeviceModel::calibrate_images(int batch) {
  const auto pixels = calibration_pixels(images_->size(), batch);
  const auto memory = device_->allocate(pixels.size());
  device_->upload(memory.get(), pixels.data(), pixels.size());
  images_->reserve(kCalibrationRows);
  images_->pass(static_cast<std::uint8_t*>(memory.get()), kCalibrationRows, ImageOutput::embedding,
                result_of(0, kCalibrationRows, dim_));
}

// Without rows of padding, whose numbers mean nothing.
void DeviceModel::calibrate_texts(int batch) {
  const std::int64_t length = std::min(kCalibrationTokens, texts_->context());
  const auto ids = calibration_ids(length, texts_->vocabulary(), texts_->last_id(), batch);
  for (std::int64_t begin = 0, taken = 0; begin < kCalibrationRows; begin += taken) {
    const auto packed =
        texts_->pack(ids.data() + begin * length, kCalibrationRows - begin, length, kCalibrationRows, taken, false);
    const auto memory = device_->allocate(packed.data.size() * 4);
    device_->upload(memory.get(), packed.data.data(), packed.data.size() * 4);
    texts_->pass(static_cast<std::int32_t*>(memory.get()), packed.rows, packed.tokens, result_of(0, packed.rows, dim_));
  }
}

// Lets the device decode the JPEG files among the images that it accepts, into memory of the slot.
DeviceModel::DecodedJpegs DeviceModel::decode_jpegs(int slot, const torchclip_image* images, std::int64_t count) {
  DecodedJpegs decoded;
  decoded.job_of.assign(static_cast<std::size_t>(count), kNoJob);
  std::vector<JpegJob> files(decoded.job_of.size());
  device_->parallel(count, [&](std::int64_t i) {
    const auto& input = images[i];
    auto& file = files[static_cast<std::size_t>(i)];
    file = {input.data, static_cast<std::size_t>(input.file_bytes), 0, 0, nullptr};
    if (input.file_bytes && !device_->jpeg_size(file.data, file.bytes, file.width, file.height)) file.width = 0;
  });
  std::vector<std::int64_t> offsets;
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (files[i].width == 0) continue;
    decoded.job_of[i] = decoded.jobs.size();
    offsets.push_back(bytes);
    bytes += round_up(std::int64_t{3} * files[i].width * files[i].height, 256);
    decoded.jobs.push_back(files[i]);
  }
  if (decoded.jobs.empty()) return decoded;
  auto* memory = static_cast<std::uint8_t*>(device_->decode_slot(slot, static_cast<std::size_t>(bytes)));
  for (std::size_t j = 0; j < decoded.jobs.size(); ++j) decoded.jobs[j].out = memory + offsets[j];
  device_->decode_jpegs(decoded.jobs.data(), static_cast<std::int64_t>(decoded.jobs.size()));
  return decoded;
}

// The images to resize together: raw pixels are sent, decoded files are on the device. A file that was not decoded is
// marked in `failed`, and a black pixel takes its place.
ResizeBatch DeviceModel::resize_batch_of(const torchclip_image* images, const DecodedJpegs& decoded,
                                         std::uint8_t* failed) {
  static constexpr std::uint8_t kBlack[3] = {};
  std::vector<ResizeBatch::Source> sources;
  for (std::size_t i = 0; i < decoded.job_of.size(); ++i) {
    const auto& input = images[i];
    const auto* job = decoded.job_of[i] != kNoJob ? &decoded.jobs[decoded.job_of[i]] : nullptr;
    if (!input.file_bytes) {
      sources.push_back({{input.data, input.width, input.height, input.channels}, nullptr});
    } else if (job && job->done) {
      sources.push_back({{nullptr, job->width, job->height, 3}, job->out});
    } else {
      failed[i] = 1;
      sources.push_back({{kBlack, 1, 1, 3}, nullptr});
    }
  }
  return {*device_, sources, transform_};
}

void DeviceModel::encode_images(const torchclip_image* images, std::int64_t count, float* out, std::uint8_t* failed,
                                const EncodeOptions& options) {
  const std::int64_t bytes = images_->pixels(), dim = dim_of(options.output);
  passes(count, images_->pass_rows(), options, [&](int slot, std::int64_t begin, std::int64_t rows) {
    const auto decoded = decode_jpegs(slot, images + begin, rows);
    const auto batch = resize_batch_of(images + begin, decoded, failed + begin);
    auto* pixels = workspace_.grow<std::uint8_t>(Workspace::kPixels, computed_rows(rows) * bytes);
    auto* between = workspace_.grow<std::uint8_t>(Workspace::kBetween, batch.between_bytes());
    auto* base = static_cast<char*>(device_->input_slot(slot, batch.bytes()));
    auto* sent = static_cast<char*>(device_->host_slot(slot, batch.bytes()));
    batch.write(sent, base, between, pixels);
    device_->upload_async(slot, sent, batch.bytes());
    device_->begin_batch(slot);
    device_->fill(pixels, transform_.fill, static_cast<std::size_t>(rows * bytes));
    resize(device_->stream(), reinterpret_cast<const ResizeJob*>(base + batch.jobs_offset()), rows, batch.most());
    image_pass(slot, pixels, rows, out + begin * dim, options);
    return rows;
  });
}

}  // namespace

std::unique_ptr<Model> make_model(std::unique_ptr<Device> device, const ModelSource& source) {
  return std::make_unique<DeviceModel>(std::move(device), source);
}

}  // namespace torchclip::cuda
