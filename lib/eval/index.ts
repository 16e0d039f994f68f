export { compareClassifiers, mcnemar } from "./compare.js";
export type { Classified, Comparison, McNemar } from "./compare.js";
export { argmax, averagePrecision, computeMetrics, rocAuc, rocCurve, wilson } from "./metrics.js";
export type { ClassMetrics, Interval, Metrics, Scored } from "./metrics.js";
export { countParameters } from "../models/parameters.js";
export type { RetrievalManifest, RunManifest, RunSettings } from "./run-manifest.js";
export { evaluateRetrieval, retrievalManifest, retrievalMetrics, runManifest, zeroShot } from "./native.js";
export type {
  BothDirections,
  DirectionMetrics,
  Estimate,
  QueryRanks,
  RetrievalMetrics,
  RetrievalMetricsOptions,
} from "./retrieval-metrics.js";
export type { RetrievalOptions, RetrievalResult, RetrievedRow, WorstQuery } from "./retrieval.js";
export type { ImagePrediction, ZeroShotOptions, ZeroShotResult } from "./zero-shot.js";
