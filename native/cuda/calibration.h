// Images and texts that are made here, always the same, for the calibration of FP8 products (product_input.h).
#pragma once

#include <cstdint>
#include <vector>

namespace torchclip::cuda {

constexpr int kCalibrationBatches = 3;
constexpr std::int64_t kCalibrationRows = 4;     // images, and texts, of a batch
constexpr std::int64_t kCalibrationTokens = 32;  // of a text, at most

// uint8 [kCalibrationRows, size, size, 3]: an image of one colour, one of waves, one of blocks and one of noise.
std::vector<std::uint8_t> calibration_pixels(std::int64_t size, int batch);

// int32 [kCalibrationRows, length]: texts of different lengths, which begin with the last id but one of the vocabulary,
// as CLIP's do, and end with `end_id`; then comes 0.
std::vector<std::int32_t> calibration_ids(std::int64_t length, std::int64_t vocabulary, std::int32_t end_id, int batch);

}  // namespace torchclip::cuda
