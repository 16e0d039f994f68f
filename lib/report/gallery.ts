import { encode } from "html-entities";
import type { Dataset } from "../datasets/dataset.js";
import type { ImagePrediction, ZeroShotResult } from "../eval/zero-shot.js";
import { mapLimited } from "../util/iterate.js";
import { thumbnailUrl, type ThumbnailOptions } from "./images.js";

/** Why an image is shown. */
export type Group = "mistake" | "uncertain" | "sample";

export interface Shown {
  prediction: ImagePrediction;
  groups: Group[];
}

const MISTAKES = 60;
const UNCERTAIN = 40;
const SIDE = 256;

/**
 * The mistakes that the model was surest of, the images whose first two classes lie closest together, and
 * `sample` of the data set as it is; an image of several groups is shown once. In the order of these groups.
 */
export function chooseImages(result: ZeroShotResult, sample: readonly ImagePrediction[]): Shown[] {
  const { predictions } = result;
  const top = (p: ImagePrediction) => p.probabilities[p.predicted];
  const mistakes = predictions
    .filter((p) => p.predicted !== p.label)
    .sort((a, b) => top(b) - top(a) || a.index - b.index);
  const uncertain = predictions
    .map((p) => ({ p, margin: top(p) - second(p) }))
    .sort((a, b) => a.margin - b.margin || a.p.index - b.p.index)
    .map(({ p }) => p);
  const shown = new Map<number, Shown>();
  const add = (group: Group, chosen: readonly ImagePrediction[]) => {
    for (const prediction of chosen) {
      const entry = shown.get(prediction.index) ?? { prediction, groups: [] };
      entry.groups.push(group);
      shown.set(prediction.index, entry);
    }
  };
  add("mistake", mistakes.slice(0, MISTAKES));
  add("uncertain", uncertain.slice(0, UNCERTAIN));
  add("sample", sample);
  return [...shown.values()];
}

/** The second highest probability; 0 where there is one class. */
function second({ probabilities, predicted }: ImagePrediction): number {
  let most = 0;
  for (const [c, p] of probabilities.entries()) if (c !== predicted && p > most) most = p;
  return most;
}

const GROUPS: readonly [group: Group, name: string][] = [
  ["mistake", "most confident mistakes"],
  ["uncertain", "least certain"],
  ["sample", "random sample"],
];

/** Filters and images; the page's script hides what the filters exclude. */
export async function galleryHtml(
  data: Dataset,
  shown: readonly Shown[],
  options: ThumbnailOptions,
): Promise<string> {
  const first = shown.some(({ groups }) => groups.includes("mistake")) ? "mistake" : "uncertain";
  // A file that has gone since it was evaluated costs its image, not the report. A few at a time: an
  // archive's images are read one by one anyway, and a hundred decoded ones would take gigabytes.
  const thumbnail = async ({ prediction }: Shown) =>
    thumbnailUrl(await data.at(prediction.index).read(), SIDE, options);
  const images = await mapLimited(shown, 4, (one) => thumbnail(one).catch(() => undefined));
  const figures = shown.map((one, i) => figure(data, one, images[i], first));
  return [
    filters(data, shown, first),
    `<div class="gallery" id="gallery">${figures.join("\n")}</div>` +
      `<button type="button" id="more" hidden></button>` +
      `<p class="sub" id="none" hidden>No image is left by these filters.</p>`,
  ].join("\n");
}

function filters(data: Dataset, shown: readonly Shown[], first: Group): string {
  const groups = GROUPS.map(([group, name]) => {
    const count = shown.filter((one) => one.groups.includes(group)).length;
    return `<option value="${group}"${group === first ? " selected" : ""}>${name} (${count})</option>`;
  });
  const classOptions = (of: "label" | "predicted") => {
    const occurring = [...new Set(shown.map(({ prediction }) => prediction[of]))].sort((a, b) => a - b);
    return occurring.map((c) => `<option value="${c}">${encode(data.classes[c])}</option>`).join("");
  };
  const all = `<option value="">all (${shown.length})</option>`;
  const any = `<option value="">any</option>`;
  return [
    `<div class="filters"><label>show <select id="group">${groups.join("")}${all}</select></label>`,
    `<label>true class <select id="label">${any}${classOptions("label")}</select></label>`,
    `<label>predicted <select id="predicted">${any}${classOptions("predicted")}</select></label>`,
    `<label>name <input type="search" id="name" placeholder="part of it"></label></div>`,
  ].join("\n");
}

function figure(
  data: Dataset,
  { prediction, groups }: Shown,
  image: string | undefined,
  first: Group,
): string {
  const { predicted, label } = prediction;
  const name = encode(prediction.name);
  const isRight = predicted === label;
  const classAndShare = (c: number) => [encode(data.classes[c]), share(prediction.probabilities[c])];
  const [shownClass, shownShare] = classAndShare(predicted);
  const truth = isRight ? "" : `true: ${classAndShare(label).join(" ")}`;
  const source = image
    ? `<img loading="lazy" width="${SIDE}" height="${SIDE}" alt="${name}" src="${image}">`
    : `<p>no longer readable</p>`;
  const caption = `<b>${shownClass}</b> ${shownShare}<br>${truth}<small>${name}</small>`;
  const attributes = [
    `class="${isRight ? "right" : "wrong"}"`,
    `data-groups="${groups.join(" ")}"`,
    `data-label="${label}"`,
    `data-predicted="${predicted}"`,
    `data-name="${name}"${groups.includes(first) ? "" : " hidden"}`,
  ];
  return `<figure ${attributes.join(" ")}>${source}<figcaption>${caption}</figcaption></figure>`;
}

function share(probability: number): string {
  return `${(100 * probability).toFixed(1)}\u00a0%`;
}
