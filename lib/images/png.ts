const HEADER = 8; // bytes of the signature
const FRAME = 12; // bytes of a chunk beside its data: length, type, checksum
/** Compressed chunks that are no pixels: text, and the colour profile, which is ignored. */
const COMPRESSED = new Set(["zTXt", "iTXt", "iCCP"]);

/**
 * A PNG file without its compressed metadata, of which a file of 2 MB may hold 2 GB that the decoder would inflate
 * (PNG specification, 11.3.3 and 11.3.4). The file itself where it has none, or is no PNG or damaged.
 */
export function withoutCompressedMetadata(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kept: Uint8Array[] = [];
  let keptFrom = 0;
  let at = HEADER;
  while (at + FRAME <= bytes.length) {
    const end = at + FRAME + view.getUint32(at);
    if (end > bytes.length) break; // cut: left to the decoder to judge
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (COMPRESSED.has(type)) {
      kept.push(bytes.subarray(keptFrom, at));
      keptFrom = end;
    }
    at = end;
    if (type === "IEND") break;
  }
  if (keptFrom === 0) return bytes;
  return Buffer.concat([...kept, bytes.subarray(keptFrom)]);
}
