/** The packaged faces (npm package dejavu-fonts-ttf), so that images do not depend on the machine's fonts. */
export type Face =
  "DejaVuSans" | "DejaVuSans-Bold" | "DejaVuSansCondensed" | "DejaVuSansCondensed-Bold" | "DejaVuSerif";
