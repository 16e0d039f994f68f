export { argmax, averagePrecision, computeMetrics, rocAuc, rocCurve, wilson } from "./metrics.js";
export type { ClassMetrics, Interval, Metrics, Scored } from "./metrics.js";
export { countParameters } from "../models/parameters.js";
export { runManifest, type RunManifest, type RunSettings } from "./manifest.js";
export { zeroShot } from "./zero-shot.js";
export type { ImagePrediction, ZeroShotOptions, ZeroShotResult } from "./zero-shot.js";
