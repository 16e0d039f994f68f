export { compareClassifiers, mcnemar } from "./compare.js";
export type { Classified, Comparison, McNemar } from "./compare.js";
export { clipScore, refClipScore } from "./clip-score.js";
export { jaccardScores } from "./jaccard.js";
export type { Association, JaccardScores } from "./jaccard.js";
export { argmax, averagePrecision, computeMetrics, macroF1, rocAuc, rocCurve, wilson } from "./metrics.js";
export type { ClassMetrics, Interval, MacroOver, Metrics, Scored } from "./metrics.js";
export { meanAveragePrecision, multiLabelMetrics } from "./multi-label.js";
export type { MultiLabelMetrics, MultiLabelPrecision } from "./multi-label.js";
export { groupAccuracies } from "./worst-group.js";
export type { GroupAccuracy } from "./worst-group.js";
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
