// What the markers of a JPEG file say of its colours, and whether the file is whole.
#pragma once

#include <cstddef>
#include <cstdint>

namespace torchclip::cuda {

// Whether the three components of a file are RGB instead of YCbCr, by the rules of libjpeg (jdapimin.c,
// default_decompress_parms): a JFIF marker means YCbCr; else Adobe's APP14 marker says it; else the components' ids
// "RGB" do. False for a file with another number of components and for one whose headers are damaged.
bool is_rgb_jpeg(const std::uint8_t* data, std::size_t bytes);

// Whether the marker of the image's end stands in the last bytes of a file, behind the headers: a file that is cut off
// has none there.
bool has_image_end(const std::uint8_t* data, std::size_t bytes);

}  // namespace torchclip::cuda
