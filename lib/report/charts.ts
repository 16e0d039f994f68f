import * as vega from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import { rocCurve, type Metrics } from "../eval/metrics.js";
import type { ZeroShotResult } from "../eval/zero-shot.js";

/** Colours that read on white and on the report's dark ground; the page sets the text colour by CSS. */
const BLUE = "#3b82f6";
const GREY = "#8b949e";
const RED = "#ef4444";
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

async function svg(spec: Omit<TopLevelSpec, "$schema" | "config">): Promise<string> {
  const compiled = compile({
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    config: CONFIG,
    ...spec,
  } as TopLevelSpec).spec;
  const view = new vega.View(vega.parse(compiled), { renderer: "none" });
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
  const values = metrics.confusion.flatMap((row, t) => {
    const total = row.reduce((a, b) => a + b, 0);
    return row.map((count, p) => ({ truth: t, predicted: p, count, share: total ? count / total : 0 }));
  });
  const few = classes.length <= FEW;
  // Ids, not names, are the positions: two classes may have the same name.
  const labels = {
    labelExpr: `${JSON.stringify(classes)}[datum.value]`,
    labelLimit: 90,
    labelFontSize: few ? 12 : 8,
    labelOverlap: false,
  };
  const axis = (more: object) =>
    classes.length <= NAMED ? { ...labels, ...more } : { labels: false, ticks: false };
  const position = { sort: null, type: "nominal" as const };
  const shade = {
    field: "share",
    type: "quantitative" as const,
    scale: { domain: [0, 1], range: ["#dbeafe", "#1d4ed8"] },
    title: "share of row",
    legend: { gradientLength: 180 },
  };
  const counts = {
    mark: { type: "text" as const, fontSize: classes.length <= 4 ? 18 : 11 },
    encoding: {
      text: { field: "count", type: "quantitative" as const },
      color: { condition: { test: "datum.share > 0.5", value: "white" }, value: "#0f172a" },
    },
  };
  return svg({
    ...SIZE,
    data: { values },
    encoding: {
      x: {
        field: "predicted",
        ...position,
        title: "predicted class",
        axis: axis({ labelAngle: classes.length <= 4 ? 0 : -45 }),
      },
      y: { field: "truth", ...position, title: "true class", axis: axis({}) },
    },
    layer: [{ mark: "rect", encoding: { color: shade } }, ...(few ? [counts] : [])],
  } as never);
}

/** How many images got their first class with which probability, right and wrong ones above each other. */
export function probabilityChart(result: ZeroShotResult): Promise<string> {
  const BINS = 20;
  const counts = Array.from({ length: BINS }, () => ({ right: 0, wrong: 0 }));
  for (const { probabilities, predicted, label } of result.predictions)
    counts[Math.min(BINS - 1, Math.floor(probabilities[predicted] * BINS))][
      predicted === label ? "right" : "wrong"
    ]++;
  const values = counts.flatMap((bin, b) =>
    (["right", "wrong"] as const).map((kind) => ({
      low: b / BINS,
      high: (b + 1) / BINS,
      kind,
      order: kind === "right" ? 0 : 1,
      count: bin[kind],
    })),
  );
  return svg({
    ...SIZE,
    data: { values },
    mark: { type: "bar", binSpacing: 1 },
    encoding: {
      x: {
        field: "low",
        type: "quantitative",
        bin: { binned: true, step: 1 / BINS },
        title: "probability of the predicted class",
        scale: { domain: [0, 1] },
      },
      x2: { field: "high" },
      y: { field: "count", type: "quantitative", stack: "zero", title: "images", axis: { tickMinStep: 1 } },
      order: { field: "order" },
      color: {
        field: "kind",
        type: "nominal",
        sort: ["right", "wrong"],
        title: null,
        scale: { domain: ["right", "wrong"], range: [BLUE, RED] },
      },
    },
  } as never);
}

/** A chart of two shares in 0 … 1, with its diagonal below the given layers. */
function shares(
  x: { field: string; title: string },
  y: { field: string; title: string },
  values: object[],
  marks: object[],
): Promise<string> {
  const axis = (a: { field: string; title: string }) => ({
    ...a,
    type: "quantitative",
    scale: { domain: [0, 1] },
  });
  const ends = [0, 1].map((end) => ({ [x.field]: end, [y.field]: end }));
  return svg({
    ...SIZE,
    encoding: { x: axis(x), y: axis(y) },
    layer: [
      { data: { values: ends }, mark: { type: "line", color: GREY, strokeDash: [4, 4] } },
      ...marks.map((layer) => ({ data: { values }, ...layer })),
    ],
  } as never);
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
            scale: { range: [BLUE, "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", GREY] },
          },
        },
      },
      {
        mark: { type: "text", dy: -6, fontSize: 10, color: GREY },
        encoding: { text: { field: "value", type: "quantitative", format: ".0f" } },
      },
    ],
  } as Omit<TopLevelSpec, "$schema" | "config">);
}
