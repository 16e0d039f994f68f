/* One image and one text through the C ABI: encode MODEL.pt
 * The image is a red square drawn here. */
#include <stdio.h>
#include <stdlib.h>
#include <torchclip/torchclip.h>

static int fail(const torchclip_error* error) {
  fprintf(stderr, "%s: %s\n", torchclip_status_name(error->status), error->message);
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: encode MODEL.pt\n");
    return 2;
  }
  torchclip_error error;
  torchclip_engine* engine = torchclip_open(argv[1], NULL, &error);
  if (!engine) return fail(&error);
  torchclip_model_info info;
  if (torchclip_info(engine, &info, &error)) return fail(&error);
  printf("%s on %s: embedding dimension %d\n", argv[1], info.device, info.embed_dim);

  enum { WIDTH = 320, HEIGHT = 240 };
  uint8_t* source = calloc(WIDTH * HEIGHT, 3);
  uint8_t* pixels = malloc((size_t)info.image_size * info.image_size * 3);
  float* image = malloc(sizeof(float) * info.embed_dim);
  float* text = malloc(sizeof(float) * info.embed_dim);
  for (int i = 0; i < WIDTH * HEIGHT; i++) source[3 * i] = 255;

  const char* const texts[] = {"a red square"};
  float cosine;
  if (torchclip_preprocess(engine, source, WIDTH, HEIGHT, 3, pixels, &error)) return fail(&error);
  if (torchclip_encode_pixels(engine, pixels, 1, image, 1, &error)) return fail(&error);
  if (torchclip_encode_texts(engine, texts, 1, 0, text, 1, &error)) return fail(&error);
  if (torchclip_similarity(image, 1, text, 1, info.embed_dim, &cosine, &error)) return fail(&error);
  printf("cosine of the image and \"%s\": %.4f\n", texts[0], cosine);

  free(source);
  free(pixels);
  free(image);
  free(text);
  torchclip_close(engine);
  return 0;
}
