import { encode } from "html-entities";
import type { Dataset } from "../datasets/dataset.js";
import type { ImagePrediction, ZeroShotResult } from "../eval/zero-shot.js";
import { thumbnailUrl } from "./images.js";

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

/** Filters and images; the page's script hides what the filters exclude. */
export async function galleryHtml(
  data: Dataset,
  shown: readonly Shown[],
  autoRotate: boolean,
): Promise<string> {
  const count = (group: Group) => shown.filter((s) => s.groups.includes(group)).length;
  const groups: [Group, string][] = [
    ["mistake", "most confident mistakes"],
    ["uncertain", "least certain"],
    ["sample", "random sample"],
  ];
  const first = count("mistake") > 0 ? "mistake" : "uncertain";
  const groupOptions = groups.map(
    ([g, name]) => `<option value="${g}"${g === first ? " selected" : ""}>${name} (${count(g)})</option>`,
  );
  const occurring = (of: "label" | "predicted") =>
    [...new Set(shown.map((s) => s.prediction[of]))].sort((a, b) => a - b);
  const classOptions = (of: "label" | "predicted") =>
    occurring(of).map((c) => `<option value="${c}">${encode(data.classes[c])}</option>`);
  // A file that has gone since it was evaluated costs its image, not the report.
  const thumbnail = async (s: Shown) =>
    thumbnailUrl(await data.at(s.prediction.index).read(), SIDE, autoRotate);
  const images = await inOrder(shown, (s) => thumbnail(s).catch(() => undefined));
  const figures = shown.map((s, i) => figure(data, s, images[i], first));
  return `<div class="filters"><label>show <select id="group">${groupOptions.join("")}<option value="">all (${shown.length})</option></select></label>
<label>true class <select id="label"><option value="">any</option>${classOptions("label").join("")}</select></label>
<label>predicted <select id="predicted"><option value="">any</option>${classOptions("predicted").join("")}</select></label>
<label>name <input type="search" id="name" placeholder="part of it"></label></div>
<div class="gallery" id="gallery">${figures.join("\n")}</div><button type="button" id="more" hidden></button><p class="sub" id="none" hidden>No image is left by these filters.</p>`;
}

function figure(
  data: Dataset,
  { prediction: p, groups }: Shown,
  image: string | undefined,
  first: Group,
): string {
  const right = p.predicted === p.label;
  const truth = encode(data.classes[p.label]);
  const predicted = encode(data.classes[p.predicted]);
  const source = image
    ? `<img loading="lazy" width="${SIDE}" height="${SIDE}" alt="${encode(p.name)}" src="${image}">`
    : `<p>no longer readable</p>`;
  const caption = `<b>${predicted}</b> ${share(p.probabilities[p.predicted])}<br>${right ? "" : `true: ${truth} ${share(p.probabilities[p.label])}`}<small>${encode(p.name)}</small>`;
  const attributes = `data-groups="${groups.join(" ")}" data-label="${p.label}" data-predicted="${p.predicted}" data-name="${encode(p.name)}"`;
  return `<figure class="${right ? "right" : "wrong"}" ${attributes}${groups.includes(first) ? "" : " hidden"}>${source}<figcaption>${caption}</figcaption></figure>`;
}

function share(probability: number): string {
  return `${(100 * probability).toFixed(1)}\u00a0%`;
}

/**
 * A few at a time: an archive's images are read one by one anyway, and a hundred decoded ones would take
 * gigabytes.
 */
async function inOrder<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const i = next++;
      results[i] = await work(items[i]);
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
  return results;
}
