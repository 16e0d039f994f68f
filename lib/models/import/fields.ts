import { TorchclipError } from "../../errors.js";

/**
 * The fields of the config files that lie beside published weights. A field that changes pixels, tokens or
 * the graph is read, or refused where its value is another than the one that this version computes; nothing
 * is ignored because it is not known.
 */
interface FieldTable {
  /** Read by ./checkpoint-config.ts, ./image-processor.ts or ./tokenizer.ts. */
  read: readonly string[];
  /**
   * Of no effect on embeddings: training, generation, provenance, or a size that the weights' shapes show as
   * well.
   */
  harmless: readonly string[];
  /** Accepted with these values alone, which say what is computed anyway. */
  only?: Readonly<Record<string, readonly unknown[]>>;
}

export type ConfigKind =
  | "transformers"
  | "transformers text"
  | "transformers vision"
  | "processor"
  | "image processor"
  | "tokenizer"
  | "open_clip"
  | "open_clip model"
  | "open_clip vision"
  | "open_clip text"
  | "open_clip preprocess";

/**
 * transformers' PretrainedConfig (configuration_utils.py): what every config holds, in the versions since
 * 4.0.
 */
const PRETRAINED = [
  ...[
    "_name_or_path",
    "_commit_hash",
    "name_or_path",
    "transformers_version",
    "architectures",
    "model_type",
    "torch_dtype",
    "dtype",
    "torchscript",
  ],
  ...[
    "_attn_implementation_autoset",
    "_attn_implementation",
    "attn_implementation",
    "use_bfloat16",
    "tf_legacy_loss",
    "task_specific_params",
  ],
  ...[
    "return_dict",
    "return_dict_in_generate",
    "output_hidden_states",
    "output_attentions",
    "output_scores",
    "use_cache",
    "problem_type",
  ],
  ...[
    "finetuning_task",
    "id2label",
    "label2id",
    "num_labels",
    "is_decoder",
    "is_encoder_decoder",
    "add_cross_attention",
    "tie_encoder_decoder",
  ],
  ...[
    "cross_attention_hidden_size",
    "tie_word_embeddings",
    "chunk_size_feed_forward",
    "tokenizer_class",
    "prefix",
    "decoder_start_token_id",
  ],
  ...[
    "bos_token_id",
    "sep_token_id",
    "max_length",
    "min_length",
    "do_sample",
    "early_stopping",
    "num_beams",
    "num_beam_groups",
  ],
  ...[
    "diversity_penalty",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
  ],
  ...[
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "num_return_sequences",
    "forced_bos_token_id",
    "forced_eos_token_id",
  ],
  ...[
    "remove_invalid_values",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    "gradient_checkpointing",
  ],
];
const PRETRAINED_ONLY = { pruned_heads: [{}] };

/** Of a tower of transformers: its training, and what its weights' shapes show. */
const TOWER = [
  "hidden_size",
  "intermediate_size",
  "num_hidden_layers",
  "attention_dropout",
  "dropout",
  "initializer_factor",
  "initializer_range",
];

/** open_clip's own attention blocks (CLIPVisionCfg, CLIPTextCfg of open_clip/model.py). */
const PLAIN_BLOCKS = {
  block_type: ["default"],
  qk_norm: [false],
  scaled_cosine_attn: [false],
  scale_heads: [false],
  scale_attn_inner: [false],
  scale_attn: [false],
  scale_fc: [false],
};

const TABLES: Record<ConfigKind, FieldTable> = {
  // CLIPConfig, MetaClip2Config, SiglipConfig
  transformers: {
    read: ["model_type", "text_config", "vision_config", "text_config_dict", "vision_config_dict"],
    harmless: [
      ...PRETRAINED,
      "projection_dim",
      "logit_scale_init_value",
      "initializer_factor",
      "initializer_range",
      "eos_token_id",
      "pad_token_id",
    ],
    only: PRETRAINED_ONLY,
  },
  // CLIPTextConfig, MetaClip2TextConfig, SiglipTextConfig
  "transformers text": {
    read: ["hidden_act", "num_attention_heads", "layer_norm_eps", "eos_token_id", "pad_token_id"],
    harmless: [
      ...PRETRAINED,
      ...TOWER,
      "max_position_embeddings",
      "vocab_size",
      "projection_dim",
      "projection_size",
    ],
    only: PRETRAINED_ONLY,
  },
  // CLIPVisionConfig, MetaClip2VisionConfig, SiglipVisionConfig
  "transformers vision": {
    read: ["hidden_act", "num_attention_heads", "layer_norm_eps", "image_size"],
    harmless: [...PRETRAINED, ...TOWER, "patch_size", "projection_dim", "eos_token_id", "pad_token_id"],
    only: { ...PRETRAINED_ONLY, num_channels: [3], vision_use_head: [true] },
  },
  // ProcessorMixin
  processor: { read: ["image_processor"], harmless: ["processor_class", "tokenizer"] },
  // CLIPImageProcessor, SiglipImageProcessor, ViTImageProcessor and their fast variants
  "image processor": {
    read: [
      ...[
        "image_processor_type",
        "feature_extractor_type",
        "do_resize",
        "size",
        "resample",
        "default_to_square",
        "do_center_crop",
        "crop_size",
      ],
      ...["do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std"],
    ],
    harmless: [
      ...[
        "processor_class",
        "do_convert_rgb",
        "return_tensors",
        "data_format",
        "input_data_format",
        "_valid_processor_keys",
        "device",
      ],
      ...["disable_grouping", "image_seq_length"],
    ],
    only: { do_pad: [false], do_flip_channel_order: [false], use_square_size: [false] },
  },
  // PreTrainedTokenizerBase and the classes that CLIP models use
  tokenizer: {
    read: [
      ...[
        "tokenizer_class",
        "pad_token",
        "added_tokens_decoder",
        "additional_special_tokens",
        "add_bos_token",
        "add_eos_token",
        "do_lower_case",
      ],
      ...["strip_accents", "tokenize_chinese_chars"],
    ],
    harmless: [
      ...[
        "bos_token",
        "eos_token",
        "unk_token",
        "sep_token",
        "cls_token",
        "mask_token",
        "model_max_length",
        "max_len",
        "max_length",
        "stride",
      ],
      ...[
        "truncation_strategy",
        "pad_to_multiple_of",
        "pad_token_type_id",
        "model_input_names",
        "clean_up_tokenization_spaces",
      ],
      ...[
        "spaces_between_special_tokens",
        "errors",
        "name_or_path",
        "tokenizer_file",
        "special_tokens_map_file",
        "vocab_file",
        "merges_file",
      ],
      ...[
        "processor_class",
        "use_default_system_prompt",
        "legacy",
        "extra_ids",
        "from_slow",
        "use_fast",
        "trim_offsets",
        "do_basic_tokenize",
      ],
      ...[
        "never_split",
        "keep_accents",
        "backend",
        "is_local",
        "unk_token_id",
        "chat_template",
        "tokenizer_type",
      ],
    ],
    only: {
      padding_side: ["right"],
      truncation_side: ["right"],
      add_prefix_space: [false],
      split_special_tokens: [false],
      sp_model_kwargs: [{}],
      extra_special_tokens: [{}, []],
    },
  },
  // open_clip_config.json (open_clip/push_to_hf_hub.py)
  open_clip: { read: ["model_cfg", "preprocess_cfg"], harmless: [] },
  "open_clip model": {
    read: ["quick_gelu", "vision_cfg", "text_cfg"],
    harmless: [
      "embed_dim",
      "custom_text",
      "multimodal_cfg",
      "init_logit_scale",
      "init_logit_bias",
      "cast_dtype",
      "output_dict",
    ],
    only: { nonscalar_logit_scale: [false] },
  },
  "open_clip vision": {
    read: [
      ...[
        "image_size",
        "head_width",
        "pool_type",
        "final_ln_after_pool",
        "attn_pooler_heads",
        "act_kwargs",
        "norm_kwargs",
        "timm_model_name",
      ],
      ...["timm_pool"],
    ],
    harmless: [
      ...[
        "layers",
        "width",
        "mlp_ratio",
        "patch_size",
        "ls_init_value",
        "patch_dropout",
        "no_ln_pre",
        "attn_pooler_queries",
        "output_tokens",
      ],
      ...[
        "pos_embed_type",
        "timm_model_pretrained",
        "timm_proj",
        "timm_proj_bias",
        "timm_drop",
        "timm_drop_path",
      ],
    ],
    only: { ...PLAIN_BLOCKS, attentional_pool: [true, false], timm_model_kwargs: [{}] },
  },
  "open_clip text": {
    read: [
      ...[
        "heads",
        "context_length",
        "pool_type",
        "no_causal_mask",
        "pad_id",
        "eos_id",
        "act_kwargs",
        "norm_kwargs",
        "tokenizer_kwargs",
      ],
      ...["hf_tokenizer_name", "hf_model_name", "hf_pooler_type"],
    ],
    harmless: [
      ...[
        "width",
        "layers",
        "mlp_ratio",
        "ls_init_value",
        "vocab_size",
        "embed_cls",
        "proj_bias",
        "output_tokens",
        "bos_id",
        "tiktoken_name",
      ],
      // A norm of one token alone: the same before and after the pooling.
      ...["final_ln_after_pool", "hf_model_pretrained"],
    ],
    only: {
      ...PLAIN_BLOCKS,
      text_arch: ["clip"],
      variable_text: [false],
      tokenizer_mode: [""],
      tokenizer_type: [""],
      proj_type: ["linear", "none"],
      hf_proj_type: ["linear", "mlp"],
      hf_model_config: [{}],
    },
  },
  "open_clip preprocess": {
    read: ["mean", "std", "interpolation", "resize_mode", "fill_color"],
    harmless: ["size"], // the model's own image size is used
    only: { mode: ["RGB"] },
  },
};

type Json = Record<string, unknown>;

/**
 * Throws E_MODEL_UNSUPPORTED where `config`, from `file`, has a field that its table does not know or with a
 * value that this version does not compute. A field of null is one that is not set.
 */
export function checkFields(kind: ConfigKind, config: Json, file: string): void {
  const { read, harmless, only = {} } = TABLES[kind];
  for (const [name, value] of Object.entries(config)) {
    if (value === null || value === undefined || read.includes(name) || harmless.includes(name)) continue;
    const allowed = Object.hasOwn(only, name) ? only[name] : undefined;
    if (allowed?.some((a) => JSON.stringify(a) === JSON.stringify(value))) continue;
    throw unsupportedField(
      file,
      name,
      value,
      allowed
        ? `this version computes ${allowed.map((a) => JSON.stringify(a)).join(" or ")}`
        : "it is not known",
    );
  }
}

/** E_MODEL_UNSUPPORTED that names a config's file, its field and the value. */
export function unsupportedField(file: string, field: string, value: unknown, why: string): TorchclipError {
  const text = JSON.stringify(value) ?? "nothing";
  const shown = text.length > 60 ? `${text.slice(0, 60)}…` : text;
  return new TorchclipError(
    "E_MODEL_UNSUPPORTED",
    `${file}: "${field}" is ${shown}, and ${why}; it may change what the model computes`,
    { subject: file },
  );
}
