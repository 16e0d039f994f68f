/* A libcuda.so.1 for a machine without a GPU, with which cuDNN compiles kernels for a GPU that is described to it. It
 * has the functions that cuDNN looks for; kernels are loaded nowhere, and their names are shown. */
#include <stdio.h>
#include <string.h>

enum { kSuccess = 0, kNoDevice = 100 };

/* How often the float 1.702 stands in the code: the beta with which swish is QuickGELU. */
static int betas_in(const unsigned char* elf) {
  static const float kBeta = 1.702f;
  unsigned long sections;
  unsigned short section_size, section_count;
  memcpy(&sections, elf + 40, sizeof sections);
  memcpy(&section_size, elf + 58, sizeof section_size);
  memcpy(&section_count, elf + 60, sizeof section_count);
  const unsigned long bytes = sections + (unsigned long)section_size * section_count;
  int found = 0;
  for (unsigned long i = 0; i + sizeof kBeta <= bytes; i += sizeof kBeta) {
    if (memcmp(elf + i, &kBeta, sizeof kBeta) == 0) ++found;
  }
  return found;
}

static int betas = 0;

int cuInit(unsigned flags) { return (void)flags, kNoDevice; }
int cuDriverGetVersion(int* version) { return *version = 13000, kSuccess; }
int cuDeviceGetCount(int* count) { return *count = 1, kSuccess; }
int cuDeviceGet(int* device, int index) { return *device = index, kSuccess; }
int cuGetErrorName(int error, const char** name) { return (void)error, *name = "no GPU", kSuccess; }
int cuGetErrorString(int error, const char** text) { return (void)error, *text = "no GPU", kSuccess; }
int cuLibraryLoadData(void** library, const void* code) {
  *library = &betas;
  betas = memcmp(code, "\177ELF", 4) == 0 ? betas_in(code) : 0;
  return kSuccess;
}
int cuLibraryGetKernel(void** kernel, void* library, const char* name) {
  *kernel = library;
  printf("    %s (1.702 stands in it %d times)\n", name, betas);
  return kSuccess;
}
int cuKernelGetAttribute(int* value) { return *value = 0, kSuccess; }
int cuKernelSetAttribute(void) { return kSuccess; }
int cuLibraryUnload(void* library) { return (void)library, kSuccess; }
int cuOccupancyMaxPotentialClusterSize(int* size) { return *size = 8, kSuccess; }

#define REFUSED(name) \
  int name(void) { return kNoDevice; }
REFUSED(cuCtxGetCurrent)
REFUSED(cuCtxGetLimit)
REFUSED(cuCtxPopCurrent)
REFUSED(cuCtxPushCurrent)
REFUSED(cuKernelGetFunction)
REFUSED(cuLaunchCooperativeKernel)
REFUSED(cuLaunchKernel)
REFUSED(cuLaunchKernelEx)
REFUSED(cuLibraryLoadFromFile)
REFUSED(cuLinkAddData)
REFUSED(cuLinkComplete)
REFUSED(cuLinkCreate)
REFUSED(cuLinkDestroy)
REFUSED(cuModuleGetFunction)
REFUSED(cuModuleLoadData)
REFUSED(cuModuleUnload)
REFUSED(cuStreamGetCtx)
REFUSED(cuTensorMapEncodeIm2col)
REFUSED(cuTensorMapEncodeTiled)
