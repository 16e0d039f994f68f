/* A library without any use, in the place of one of libtorch's. */
int torchclip_fake_library(void) { return 1; }
