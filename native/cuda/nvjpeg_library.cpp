#include "nvjpeg_library.h"

#include <type_traits>

#include "base/platform_library.h"

#if __has_include(<nvjpeg.h>)
#include <nvjpeg.h>
#endif

namespace torchclip::cuda::nvjpeg {

#if defined(NVJPEG_MAX_COMPONENT)
static_assert(kSuccess == NVJPEG_STATUS_SUCCESS && kInterleavedRgb == NVJPEG_OUTPUT_RGBI);
static_assert(kHardware == NVJPEG_BACKEND_HARDWARE);
static_assert(sizeof(Destination) == sizeof(nvjpegImage_t) && NVJPEG_MAX_COMPONENT == 4);
#endif

Library::Library(std::string& problem) {
  std::string reason;  // of one name, which says nothing of the others
  for (const char* name : {"libnvjpeg.so.13", "libnvjpeg.so.12", "libnvjpeg.so"}) {
    handle_ = core::open_library(name, core::Symbols::local, reason);
    if (handle_) break;
  }
  if (!handle_) {
    problem = "nvJPEG was not found (libnvjpeg.so.13); install NVIDIA's toolkit, or `pip install nvidia-nvjpeg`";
    return;
  }
  const auto find = [&](auto& to, const char* name) {
    to = reinterpret_cast<std::remove_reference_t<decltype(to)>>(core::library_function(handle_, name));
    return to != nullptr;
  };
  const auto require = [&](auto& to, const char* name) {
    if (!find(to, name)) problem = std::string("this nvJPEG lacks ") + name;
  };
  require(create, "nvjpegCreateSimple");
  require(destroy, "nvjpegDestroy");
  require(create_state, "nvjpegJpegStateCreate");
  require(destroy_state, "nvjpegJpegStateDestroy");
  require(info, "nvjpegGetImageInfo");
  require(decode, "nvjpegDecode");
  has_engines_ = find(create_with, "nvjpegCreateEx") && find(engines, "nvjpegGetHardwareDecoderInfo") &&
                 find(create_file, "nvjpegJpegStreamCreate") && find(destroy_file, "nvjpegJpegStreamDestroy") &&
                 find(parse_header, "nvjpegJpegStreamParseHeader") && find(refused, "nvjpegDecodeBatchedSupported") &&
                 find(start_batch, "nvjpegDecodeBatchedInitialize") && find(decode_batch, "nvjpegDecodeBatched");
}

}  // namespace torchclip::cuda::nvjpeg
