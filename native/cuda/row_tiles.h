// How the kernels of a search divide rows among warps: a tile of kTileRows rows for each, as fragments of tensor cores.
#pragma once

#include "device_code.h"
#include "prefilter.h"

namespace torchclip::cuda {

constexpr int kTilesOfBlock = kBlock / kWarp;  // A warp for each.
constexpr int kGroup = 8;                      // Queries, or rows, of one product of tensor cores.

// What a lane of a warp has of the fragments of tensor cores (tensor_core.h).
struct Lane {
  int g, t;
};

__device__ inline Lane lane_of_thread() { return {thread_of_block() % kWarp / 4, thread_of_block() % 4}; }

// The block that a row lies in.
__device__ inline const RowBlock& block_of(const RowList& list, std::int64_t row) {
  std::int64_t low = 0, high = list.block_count;
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    if (list.blocks[middle].first <= row) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return list.blocks[low];
}

// The tile of the calling warp.
__device__ inline std::int64_t tile_of_warp() {
  return static_cast<std::int64_t>(blockIdx.x) * kTilesOfBlock + thread_of_block() / kWarp;
}

}  // namespace torchclip::cuda
