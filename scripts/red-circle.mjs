// The image that the tests of the packages look at: a red circle, which the embedded model knows.
import sharp from "sharp";

/** @param {string} file a .png */
export async function writeRedCircle(file) {
  const svg =
    '<svg width="224" height="224"><rect width="224" height="224" fill="white"/>' +
    '<circle cx="112" cy="112" r="70" fill="red"/></svg>';
  await sharp(Buffer.from(svg)).png().toFile(file);
}
