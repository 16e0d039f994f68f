import type { TopLevelSpec } from "vega-lite";
import { rocCurve, type Metrics } from "../eval/metrics.js";
import type { ZeroShotResult } from "../eval/zero-shot.js";

/** Colours that read on white and on the report's dark ground; the page sets the text colour by CSS. */
const BLUE = "#3b82f6";
const GREY = "#8b949e";
const RED = "#ef4444";
/** Of series side by side. */
const COLOURS = [BLUE, "#f59e0b", "#10b981", RED, "#8b5cf6", GREY];
const CONFIG = {
  background: "transparent",
  font: "system-ui, sans-serif",
  axis: {
    labelColor: GREY,
    titleColor: GREY,
    gridColor: "#8b949e33",
    domainColor: GREY,
    tickColor: GREY,
    labelFontSize: 12,
    titleFontSize: 13,
  },
  legend: { labelColor: GREY, titleColor: GREY },
  title: { color: GREY, fontSize: 15 },
  view: { stroke: null },
} as const;

/** A chart in the language of Vega-Lite, whose own types name no chart of ours as a whole. */
type Chart = Record<string, unknown>;

/** Draws a chart. Vega, which takes a third of a second to load, is loaded by the first one. */
async function svg(chart: Chart): Promise<string> {
  const [{ parse, View }, { compile }] = await Promise.all([import("vega"), import("vega-lite")]);
  const $schema = "https://vega.github.io/schema/vega-lite/v6.json";
  const { spec } = compile({ $schema, config: CONFIG, ...chart } as unknown as TopLevelSpec);
  const view = new View(parse(spec), { renderer: "none" });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}

/** All charts of the report have this size, axes and legends included. */
const SIZE = { width: 420, height: 330, autosize: { type: "fit", contains: "padding" } } as const;
/** Beyond it the names of classes would overlap, and beyond FEW the counts. */
const NAMED = 40;
const FEW = 12;

/** Rows true classes, columns predicted; each cell coloured by its share of the row. */
export function confusionChart(metrics: Metrics, classes: readonly string[]): Promise<string> {
  const values = metrics.confusion.flatMap((row, truth) => {
    const total = row.reduce((a, b) => a + b, 0);
    return row.map((count, predicted) => ({ truth, predicted, count, share: total ? count / total : 0 }));
  });
  const shade = {
    field: "share",
    type: "quantitative",
    scale: { domain: [0, 1], range: ["#dbeafe", "#1d4ed8"] },
    title: "share of row",
    legend: { gradientLength: 180 },
  };
  const counts = {
    mark: { type: "text", fontSize: classes.length <= 4 ? 18 : 11 },
    encoding: {
      text: { field: "count", type: "quantitative" },
      color: { condition: { test: "datum.share > 0.5", value: "white" }, value: "#0f172a" },
    },
  };
  const position = { sort: null, type: "nominal" };
  const across = classAxis(classes, { labelAngle: classes.length <= 4 ? 0 : -45 });
  return svg({
    ...SIZE,
    data: { values },
    encoding: {
      x: { field: "predicted", ...position, title: "predicted class", axis: across },
      y: { field: "truth", ...position, title: "true class", axis: classAxis(classes, {}) },
    },
    layer: [{ mark: "rect", encoding: { color: shade } }, ...(classes.length <= FEW ? [counts] : [])],
  });
}

/**
 * An axis of classes, by name where there is room. Ids are the positions: two classes may have the same name.
 */
function classAxis(classes: readonly string[], more: object): object {
  if (classes.length > NAMED) return { labels: false, ticks: false };
  return {
    labelExpr: `${JSON.stringify(classes)}[datum.value]`,
    labelLimit: 90,
    labelFontSize: classes.length <= FEW ? 12 : 8,
    labelOverlap: false,
    ...more,
  };
}

const BINS = 20;
const OUTCOMES = ["right", "wrong"] as const;

/** How many images got their first class with which probability, right and wrong ones above each other. */
export function probabilityChart(result: ZeroShotResult): Promise<string> {
  const position = { field: "low", type: "quantitative", bin: { binned: true, step: 1 / BINS } };
  return svg({
    ...SIZE,
    data: { values: binnedOutcomes(result) },
    mark: { type: "bar", binSpacing: 1 },
    encoding: {
      x: { ...position, title: "probability of the predicted class", scale: { domain: [0, 1] } },
      x2: { field: "high" },
      y: { field: "count", type: "quantitative", stack: "zero", title: "images", axis: { tickMinStep: 1 } },
      order: { field: "order" },
      color: {
        field: "kind",
        type: "nominal",
        sort: OUTCOMES,
        title: null,
        scale: { domain: OUTCOMES, range: [BLUE, RED] },
      },
    },
  });
}

/** For each bin of the probability of the predicted class: how many images are right, and how many wrong. */
function binnedOutcomes({ predictions }: ZeroShotResult): object[] {
  const counts = Array.from({ length: BINS }, () => ({ right: 0, wrong: 0 }));
  for (const { probabilities, predicted, label } of predictions) {
    const bin = counts[Math.min(BINS - 1, Math.floor(probabilities[predicted] * BINS))];
    bin[predicted === label ? "right" : "wrong"]++;
  }
  return counts.flatMap((count, bin) =>
    OUTCOMES.map((kind, order) => ({
      low: bin / BINS,
      high: (bin + 1) / BINS,
      kind,
      order,
      count: count[kind],
    })),
  );
}

interface ShareAxis {
  field: string;
  title: string;
}

/** A chart of two shares in 0 … 1, with its diagonal below the given layers. */
function shares(x: ShareAxis, y: ShareAxis, values: object[], marks: object[]): Promise<string> {
  const axis = (share: ShareAxis) => ({ ...share, type: "quantitative", scale: { domain: [0, 1] } });
  const ends = [0, 1].map((end) => ({ [x.field]: end, [y.field]: end }));
  return svg({
    ...SIZE,
    encoding: { x: axis(x), y: axis(y) },
    layer: [
      { data: { values: ends }, mark: { type: "line", color: GREY, strokeDash: [4, 4] } },
      ...marks.map((layer) => ({ data: { values }, ...layer })),
    ],
  });
}

/** ROC curve of the second class with the diagonal of chance. */
export function rocChart(result: ZeroShotResult): Promise<string> {
  const truth = result.predictions.map((p) => p.label);
  const scores = result.predictions.map((p) => p.probabilities[1]);
  return shares(
    { field: "fpr", title: "false positive rate" },
    { field: "tpr", title: "true positive rate" },
    rocCurve(truth, scores),
    [
      {
        mark: { type: "line", color: BLUE, strokeWidth: 2.5, interpolate: "linear" },
        encoding: { order: { field: "fpr" } },
      },
    ],
  );
}

/** Share of right answers against the probability shown; on the diagonal the model is calibrated. */
export function reliabilityChart(metrics: Metrics): Promise<string> {
  const values = metrics.calibration.bins.filter((b) => b.count > 0);
  const size = { field: "count", type: "quantitative", title: "images", scale: { range: [30, 400] } };
  return shares(
    { field: "confidence", title: "probability shown" },
    { field: "accuracy", title: "share of right answers" },
    values,
    [
      { mark: { type: "line", color: BLUE, strokeWidth: 2 } },
      { mark: { type: "point", filled: true, color: BLUE }, encoding: { size } },
    ],
  );
}

/** Bars side by side in groups. */
export function barChart(
  values: { group: string; series: string; value: number }[],
  title: string,
): Promise<string> {
  const series = [...new Set(values.map((v) => v.series))];
  return svg({
    data: { values },
    height: 260,
    width: { step: 26 },
    encoding: {
      x: { field: "group", type: "nominal", sort: null, title: null, axis: { labelAngle: 0 } },
      xOffset: { field: "series", sort: series },
      y: { field: "value", type: "quantitative", title },
    },
    layer: [
      {
        mark: "bar",
        encoding: {
          color: {
            field: "series",
            type: "nominal",
            sort: series,
            title: null,
            scale: { range: COLOURS },
          },
        },
      },
      {
        mark: { type: "text", dy: -6, fontSize: 10, color: GREY },
        encoding: { text: { field: "value", type: "quantitative", format: ".0f" } },
      },
    ],
  });
}

/** The accuracy of a method with so many training images of each class. */
export interface FewShotPoint {
  name: string;
  shots: number;
  mean: number;
  deviation: number;
}

/** Accuracy against shots, a line a method with its deviation; dashed: without training images. */
export function fewShotChart(points: readonly FewShotPoint[], zeroShot: number): Promise<string> {
  const names = [...new Set(points.map(({ name }) => name))];
  const values = points.map((point) => ({
    ...point,
    low: point.mean - point.deviation,
    high: point.mean + point.deviation,
  }));
  const accuracy = (field: string) => ({
    field,
    type: "quantitative",
    title: "accuracy",
    axis: { format: "%" },
  });
  const shots = [...new Set(points.map((point) => point.shots))].sort((a, b) => a - b);
  return svg({
    width: 520,
    height: 320,
    data: { values },
    encoding: {
      x: {
        field: "shots",
        type: "ordinal",
        sort: shots,
        title: "images of each class",
        axis: { labelAngle: 0 },
      },
      color: { field: "name", type: "nominal", sort: names, title: null, scale: { range: COLOURS } },
    },
    layer: [
      {
        mark: { type: "line", strokeWidth: 2 },
        encoding: { y: { ...accuracy("mean"), scale: { zero: false } } },
      },
      { mark: { type: "point", filled: true, size: 40 }, encoding: { y: accuracy("mean") } },
      { mark: { type: "rule" }, encoding: { y: accuracy("low"), y2: { field: "high" } } },
      {
        data: { values: [{ zeroShot }] },
        mark: { type: "rule", strokeDash: [4, 4], color: GREY },
        encoding: { x: null, color: null, y: accuracy("zeroShot") },
      },
    ],
  });
}

/** A value at a step of training. */
export interface TrainingPoint {
  step: number;
  loss: number;
  accuracy: number;
}

/** Loss or accuracy over the steps of training: of the training batches, and of the validation images. */
export function trainingChart(
  field: "loss" | "accuracy",
  steps: readonly TrainingPoint[],
  validations: readonly TrainingPoint[],
): Promise<string> {
  const series = (name: string, points: readonly TrainingPoint[]) =>
    points.map((point) => ({ step: point.step, value: point[field], name }));
  const axis = field === "accuracy" ? { format: "%" } : {};
  return svg({
    width: 520,
    height: 260,
    data: { values: [...series("training", steps), ...series("validation", validations)] },
    encoding: {
      x: { field: "step", type: "quantitative", title: "step" },
      y: { field: "value", type: "quantitative", title: field, scale: { zero: false }, axis },
      color: {
        field: "name",
        type: "nominal",
        sort: ["training", "validation"],
        title: null,
        scale: { range: COLOURS },
      },
    },
    layer: [
      { mark: { type: "line", strokeWidth: 2 } },
      {
        transform: [{ filter: "datum.name == 'validation'" }],
        mark: { type: "point", filled: true, size: 30 },
      },
    ],
  });
}
