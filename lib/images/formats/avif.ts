import { latin1, plainPlan, viewOf, type Plan } from "./plan.js";

/**
 * libheif always applies the turn and the mirror of an AVIF file (irot and imir, ISO/IEC 23008-12, 6.5.10 and
 * 6.5.12); Pillow makes an EXIF orientation of them, which counts with autoRotate alone. Without it both
 * become a turn by 0.
 */
export function avifPlan(bytes: Uint8Array, autoRotate: boolean): Plan {
  const plan = plainPlan(bytes);
  if (autoRotate) return plan;
  const properties = boxes(bytes, 0, bytes.length)
    .filter((box) => box.type === "meta")
    .flatMap((meta) => boxes(bytes, meta.from + 4, meta.to)) // version and flags come first
    .filter((box) => box.type === "iprp")
    .flatMap((box) => boxes(bytes, box.from, box.to))
    .filter((box) => box.type === "ipco")
    .flatMap((box) => boxes(bytes, box.from, box.to));
  const turns = properties.filter((box) => box.type === "irot" || box.type === "imir");
  if (turns.length === 0) return plan;
  const copy = Buffer.from(bytes);
  for (const box of turns) {
    copy.write("irot", box.from - 4, "latin1");
    copy[box.from] = 0;
  }
  return { ...plan, bytes: copy };
}

interface Box {
  type: string;
  /** Where its content begins and ends. */
  from: number;
  to: number;
}

/** The boxes between two places (ISO/IEC 14496-12, 4.2); stops where one does not fit. */
function boxes(bytes: Uint8Array, from: number, to: number): Box[] {
  const view = viewOf(bytes);
  const found: Box[] = [];
  for (let at = from; at + 8 <= to;) {
    const short = view.getUint32(at);
    const head = short === 1 ? 16 : 8;
    if (at + head > to) break;
    let size = short;
    if (short === 0) size = to - at;
    if (short === 1) size = Number(view.getBigUint64(at + 8));
    if (size < head || at + size > to) break;
    found.push({ type: latin1(bytes, at + 4, at + 8), from: at + head, to: at + size });
    at += size;
  }
  return found;
}
