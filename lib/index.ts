export { Batcher } from "./clip/batcher.js";
export type { BatcherCallOptions, BatcherMetrics, BatcherOptions } from "./clip/batcher.js";
export type { BatchObserver, BatchStage, Durations, LaneMetrics, LaneName } from "./clip/batching/metrics.js";
export { Classifier } from "./clip/classifier.js";
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
} from "./clip/classifier.js";
export { Clip } from "./clip/clip.js";
export type { ImageOutput } from "./clip/image-output.js";
export { load } from "./clip/load.js";
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
  PreprocessOptions,
  StageTimes,
} from "./clip/options.js";
export { softmax } from "./util/softmax.js";
export { normalizeRows, similarity, topK } from "./embeddings.js";
export type { Embeddings, SimilarityOptions, TopK } from "./embeddings.js";
export { EmbeddingIndex } from "./search/embedding-index.js";
export type { IndexOptions, IndexPrecision, SearchOptions } from "./search/embedding-index.js";
export { EmbeddingCollection } from "./search/collection.js";
export type { CollectionHit, CollectionSearchOptions, EmbeddingModel } from "./search/collection.js";
export type { CollectionEntry } from "./search/collection-rows.js";
export { nearDuplicates } from "./curate/near-duplicates.js";
export type { DuplicateGroup, NearDuplicateOptions } from "./curate/near-duplicates.js";
export { clusterIndex } from "./curate/kmeans.js";
export type { Clustering, ClusterOptions } from "./curate/kmeans.js";
export type { PassOptions } from "./curate/blocks.js";
export { TorchclipError } from "./errors.js";
export type { ErrorCode } from "./errors.js";
export type { DecodeOptions, ImageInput, RawImage } from "./images/types.js";
export { IMAGE_FORMATS as imageFormats } from "./images/types.js";
export type { ImageFormat, ImageLimits, ImageSources } from "./images/types.js";
export { exportTriton } from "./models/export/triton.js";
export type { TritonDevice, TritonModel, TritonOptions } from "./models/export/triton.js";
export { importModel } from "./models/import/import.js";
export type { ImportSource } from "./models/import/source.js";
export type { ImportOptions } from "./models/import/import.js";
export type { ModelConfig, WeightsOrigin } from "./models/config-types.js";
export type { MeasuredPrecision, PrecisionChoice } from "./clip/precision.js";
export { MODELS as models } from "./models/catalog/registry.js";
export type { TokenizeOptions, Tokens } from "./text/tokenize.js";
