export { Batcher } from "./batcher.js";
export type { BatcherCallOptions, BatcherMetrics, BatcherOptions } from "./batcher.js";
export type { Durations, LaneMetrics } from "./batching/metrics.js";
export { Classifier } from "./classifier.js";
export type {
  ClassifiedImage,
  ClassifierOptions,
  ClassifyBatchOptions,
  ClassifyImageOptions,
  ClassifyOptions,
  ImageInputs,
  Prediction,
  RankOptions,
  Templates,
} from "./classifier.js";
export { load, Clip } from "./clip.js";
export type {
  BatchOptions,
  ClipInfo,
  Device,
  EncodedImages,
  EncodedTexts,
  EncodeTextOptions,
  LoadOptions,
  Precision,
  Preprocessed,
  StageTimes,
} from "./clip.js";
export { normalizeRows, similarity, softmax, topK } from "./embeddings.js";
export type { Embeddings, SimilarityOptions, TopK } from "./embeddings.js";
export { EmbeddingIndex } from "./search/index.js";
export type { IndexOptions, IndexPrecision, SearchOptions } from "./search/index.js";
export { TorchclipError } from "./errors.js";
export type { ErrorCode } from "./errors.js";
export type { DecodeOptions, ImageInput, RawImage } from "./images/decode.js";
export { IMAGE_FORMATS as imageFormats } from "./images/limits.js";
export type { ImageFormat, ImageLimits, ImageSources } from "./images/limits.js";
export { importModel } from "./models/import.js";
export type { ImportOptions, ImportSource } from "./models/import.js";
export type { ModelConfig, WeightsOrigin } from "./models/config.js";
export type { MeasuredPrecision, PrecisionChoice } from "./models/precision.js";
export { MODELS as models } from "./models/registry.js";
export type { TokenizeOptions, Tokens } from "./text/tokenize.js";
