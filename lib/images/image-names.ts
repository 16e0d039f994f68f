import { shown } from "../util/untrusted.js";

/** File names that are taken for images. */
export const IMAGE_NAME = /\.(jpe?g|jfif|png|webp|gif|avif|tiff?|bmp|ico|p[bgpn]m|qoi)$/i;

/** File names of images that nothing here decodes: they are left out, and counted in a note. */
export const UNDECODED_NAME =
  /\.(hei[cf]|jxl|jp2|j2k|jxr|svgz?|psd|tga|dds|exr|hdr|p[af]m|cur|cr[23]|nef|arw|dng|orf|rw2|raf)$/i;

/** Names and endings that a note shows. */
const SHOWN = 5;

/** Counts what is left out of a folder or an archive, for notes. */
export class LeftOut {
  private readonly undecoded = new Map<string, number>();
  private readonly others = new Map<string, number>();
  private readonly hidden = new Map<string, number>();
  private readonly unclassed = new Map<string, number>();

  /** Counts a file where it is an image of a format that is not decoded, and says whether it is one. */
  add(name: string): boolean {
    const ending = UNDECODED_NAME.exec(name)?.[0].toLowerCase();
    if (ending) count(this.undecoded, ending);
    return ending !== undefined;
  }

  /** Counts a file that is no image that can be decoded. */
  addFile(name: string): void {
    if (!this.add(name))
      count(this.others, /\.[^./\\]+$/.exec(name)?.[0].toLowerCase() ?? "without an ending");
  }

  /** Counts a hidden file or folder. */
  addHidden(name: string): void {
    count(this.hidden, name);
  }

  /** Counts an image that lies in no class folder. */
  addUnclassed(name: string): void {
    count(this.unclassed, name);
  }

  /** A sentence for each kind of what was left out, with counts; nothing where all was taken. */
  notes(where: string): string[] {
    const notes: string[] = [];
    if (this.undecoded.size > 0)
      notes.push(
        `${where}: left out ${counts(this.undecoded)}, which cannot be decoded; ` +
          "convert them to JPEG or PNG to include them.",
      );
    if (this.others.size > 0)
      notes.push(`${where}: left out files that are no images: ${counts(this.others)}.`);
    if (this.unclassed.size > 0)
      notes.push(`${where}: left out images that lie in no class folder: ${named(this.unclassed)}.`);
    if (this.hidden.size > 0)
      notes.push(`${where}: left out hidden files and folders: ${named(this.hidden)}.`);
    return notes;
  }
}

function count(counted: Map<string, number>, name: string): void {
  counted.set(name, (counted.get(name) ?? 0) + 1);
}

/** "2 .heic, 1 .psd": the most frequent ones first. */
function counts(counted: ReadonlyMap<string, number>): string {
  const sorted = [...counted].sort((a, b) => b[1] - a[1]);
  const rest = total(sorted.slice(SHOWN));
  return [
    ...sorted.slice(0, SHOWN).map(([ending, n]) => `${n} ${ending}`),
    ...(rest > 0 ? [`${rest} others`] : []),
  ].join(", ");
}

/** "7 (.git, .DS_Store, …)". */
function named(counted: ReadonlyMap<string, number>): string {
  const names = [...counted.keys()].slice(0, SHOWN).map((name) => shown(name));
  return `${total([...counted])} (${[...names, ...(counted.size > SHOWN ? ["…"] : [])].join(", ")})`;
}

function total(counted: readonly (readonly [string, number])[]): number {
  return counted.reduce((sum, [, n]) => sum + n, 0);
}

/** Folders that tools leave beside images: hidden ones, those of macOS archives and of Synology's index. */
export function isHidden(name: string): boolean {
  return name.startsWith(".") || name === "__MACOSX" || name === "@eaDir";
}
