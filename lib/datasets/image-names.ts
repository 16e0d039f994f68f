/** File names that are taken for images. */
export const IMAGE_NAME = /\.(jpe?g|jfif|png|webp|gif|avif|tiff?|bmp|ico|p[bgpn]m|qoi)$/i;

/** File names of images that nothing here decodes: they are left out, and counted in a note. */
const UNDECODED_NAME = /\.(hei[cf]|jxl|jp2|j2k|jxr|svgz?|psd|tga|dds|exr|hdr|p[af]m|cur|cr[23]|nef|arw|dng|orf|rw2|raf)$/i;

/** Counts images that are left out, by their ending. */
export class LeftOut {
  private readonly counts = new Map<string, number>();

  /** Counts a file where it is an image of a format that is not decoded. */
  add(name: string): void {
    const ending = UNDECODED_NAME.exec(name)?.[0].toLowerCase();
    if (ending) this.counts.set(ending, (this.counts.get(ending) ?? 0) + 1);
  }

  /** A sentence that names the formats; nothing where no file was left out. */
  notes(where: string): string[] {
    if (this.counts.size === 0) return [];
    const kinds = [...this.counts].sort((a, b) => b[1] - a[1]).map(([ending, count]) => `${count} ${ending}`);
    return [`${where}: left out ${kinds.join(", ")}, which cannot be decoded; convert them to JPEG or PNG to include them.`];
  }
}

/** Folders that tools leave beside images: hidden ones, those of macOS archives and of Synology's index. */
export function isHidden(name: string): boolean {
  return name.startsWith(".") || name === "__MACOSX" || name === "@eaDir";
}
