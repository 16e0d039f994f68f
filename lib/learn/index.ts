export { fitByProtocol, searchLambda } from "./lambda-search.js";
export type {
  LambdaSearch,
  ProtocolOptions,
  ProtocolResult,
  SearchOptions,
  TriedLambda,
} from "./lambda-search.js";
export { nearestNeighbours } from "./knn.js";
export type { NeighbourOptions } from "./knn.js";
export type { LabelledFeatures } from "./labelled.js";
export { datasetFeatures, overlaps } from "./features.js";
export type { DatasetFeatures, FeatureOptions, Overlap, SkippedImage } from "./features.js";
export { checkProbeModel, probeModel, readProbe, writeProbe } from "./probe-file.js";
export type { FeatureKind, ProbeModel, StoredProbe } from "./probe-file.js";
export { fitLinearProbe } from "./solver/fit.js";
export type { FitOptions } from "./solver/fit.js";
export { LinearProbe } from "./solver/linear-probe.js";
export type { FitReport, LinearProbeInit, ProbeWeights, Standardization } from "./solver/linear-probe.js";
export { chooseLambda } from "./cross-validate.js";
export type { CrossValidation } from "./cross-validate.js";
export { ProbeClassifier } from "./probe-classifier.js";
export type { ProbedImage, ProbePrediction } from "./probe-classifier.js";
export { FEW_SHOT_METHODS, fewShot, summarize as summarizeFewShot } from "./few-shot.js";
export type {
  FewShotFeatures,
  FewShotMethod,
  FewShotOptions,
  FewShotRun,
  FewShotSummary,
} from "./few-shot.js";
export { drawShots } from "./split.js";
export type { Division } from "./split.js";
export { fitLpPlusPlus } from "./solver/lp-plus-plus.js";
export type { LpPlusPlusOptions } from "./solver/lp-plus-plus.js";
export { tipAdapter } from "./tip-adapter.js";
export type { TipAdapterOptions } from "./tip-adapter.js";
export { embeddingsOfPooled, embedPooled } from "./pooled-features.js";
export { ImageProjection, readImageProjection } from "./solver/image-projection.js";
export type { ImageProjectionInit, ProjectedModel, ProjectionKind } from "./solver/image-projection.js";
export { fitProlip } from "./solver/prolip.js";
export type { ProlipOptions } from "./solver/prolip.js";
