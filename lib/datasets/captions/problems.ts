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

  /** A sentence for each kind, with names: what is left out, or with `strict` what is wrong. */
  private sentences(file: string, strict: boolean): string[] {
    const kinds: [names: string[], one: string, several: string][] = [
      [this.imagesWithoutCaption, "image has no caption", "images have no caption"],
      [this.captionsWithoutImage, "caption has no image", "captions have no image"],
      [this.missingImages, "image of a caption is not there", "images of captions are not there"],
      [this.emptyCaptions, "caption is empty", "captions are empty"],
    ];
    return kinds
      .filter(([names]) => names.length > 0)
      .map(([names, one, several]) => {
        const leftOut = names.length === 1 ? " and is left out" : " and are left out";
        const what = `${names.length} ${names.length === 1 ? one : several}${strict ? "" : leftOut}`;
        return `${file}: ${what}: ${named(names)}.`;
      });
  }

  /** The notes; with `strict` they are an error. */
  report(file: string, strict: boolean): string[] {
    const sentences = this.sentences(file, strict);
    if (strict && sentences.length > 0)
      throw new TorchclipError("E_DATASET_FORMAT", sentences.join(" "), { subject: file });
    return sentences;
  }
}

function named(names: readonly string[]): string {
  const first = names.slice(0, SHOWN).map(shown).join(", ");
  return names.length > SHOWN ? `${first} and ${names.length - SHOWN} more` : first;
}
