import { TorchclipError } from "../../errors.js";
import { shown } from "../../util/untrusted.js";

/** Names in a message. */
const SHOWN = 5;

/** What in a file of captions cannot be used, by name. */
export class Problems {
  private readonly imagesWithoutCaption: string[] = [];
  private readonly captionsWithoutImage: string[] = [];
  private readonly missingImages: string[] = [];
  private readonly emptyCaptions: string[] = [];

  addImageWithoutCaption(name: string): void {
    this.imagesWithoutCaption.push(name);
  }

  /** `where`: the caption's place in the file. */
  addCaptionWithoutImage(where: string): void {
    this.captionsWithoutImage.push(where);
  }

  /** An image whose file is not there. */
  addMissingImage(name: string): void {
    this.missingImages.push(name);
  }

  /** `where`: the caption's place in the file. */
  addEmptyCaption(where: string): void {
    this.emptyCaptions.push(where);
  }

  /** A sentence for each kind, with names. */
  notes(file: string): string[] {
    const kinds: [names: string[], what: string][] = [
      [this.imagesWithoutCaption, "images have no caption and are left out"],
      [this.captionsWithoutImage, "captions have no image and are left out"],
      [this.missingImages, "images are not there and are left out with their captions"],
      [this.emptyCaptions, "captions are empty and are left out"],
    ];
    return kinds
      .filter(([names]) => names.length > 0)
      .map(([names, what]) => `${file}: ${names.length} ${what}: ${named(names)}.`);
  }

  /** The notes; with `strict` they are an error. */
  report(file: string, strict: boolean): string[] {
    const notes = this.notes(file);
    if (strict && notes.length > 0)
      throw new TorchclipError("E_DATASET_FORMAT", notes.join(" "), { subject: file });
    return notes;
  }
}

function named(names: readonly string[]): string {
  const first = names.slice(0, SHOWN).map(shown).join(", ");
  return names.length > SHOWN ? `${first} and ${names.length - SHOWN} more` : first;
}
