import { names, type FieldTable } from "./field-table.js";

/**
 * transformers' PretrainedConfig (configuration_utils.py): what every config holds, in the versions since
 * 4.0.
 */
const PRETRAINED = names(`
  _name_or_path _commit_hash name_or_path transformers_version architectures model_type torch_dtype dtype
  torchscript _attn_implementation_autoset _attn_implementation attn_implementation use_bfloat16
  tf_legacy_loss task_specific_params return_dict return_dict_in_generate output_hidden_states
  output_attentions output_scores use_cache problem_type finetuning_task id2label label2id num_labels
  is_decoder is_encoder_decoder add_cross_attention tie_encoder_decoder cross_attention_hidden_size
  tie_word_embeddings chunk_size_feed_forward tokenizer_class prefix decoder_start_token_id bos_token_id
  sep_token_id max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty
  temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
  encoder_no_repeat_ngram_size bad_words_ids num_return_sequences forced_bos_token_id forced_eos_token_id
  remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens
  gradient_checkpointing
`);
const PRETRAINED_ONLY = { pruned_heads: [{}] };

/** Of a tower of transformers: its training, and what its weights' shapes show. */
const TOWER = names(`
  hidden_size intermediate_size num_hidden_layers attention_dropout dropout initializer_factor
  initializer_range
`);

/** CLIPConfig, MetaClip2Config, SiglipConfig. */
export const MODEL: FieldTable = {
  read: names("model_type text_config vision_config text_config_dict vision_config_dict"),
  harmless: [
    ...PRETRAINED,
    ...names("projection_dim logit_scale_init_value initializer_factor initializer_range"),
    ...names("eos_token_id pad_token_id"),
  ],
  only: PRETRAINED_ONLY,
};

/** CLIPTextConfig, MetaClip2TextConfig, SiglipTextConfig. */
export const TEXT: FieldTable = {
  read: names("hidden_act num_attention_heads layer_norm_eps eos_token_id pad_token_id"),
  harmless: [
    ...PRETRAINED,
    ...TOWER,
    ...names("max_position_embeddings vocab_size projection_dim projection_size"),
  ],
  only: PRETRAINED_ONLY,
};

/** CLIPVisionConfig, MetaClip2VisionConfig, SiglipVisionConfig. */
export const VISION: FieldTable = {
  read: names("hidden_act num_attention_heads layer_norm_eps image_size"),
  harmless: [...PRETRAINED, ...TOWER, ...names("patch_size projection_dim eos_token_id pad_token_id")],
  only: { ...PRETRAINED_ONLY, num_channels: [3], vision_use_head: [true] },
};

/** ProcessorMixin. */
export const PROCESSOR: FieldTable = {
  read: ["image_processor"],
  harmless: ["processor_class", "tokenizer"],
};

/** CLIPImageProcessor, SiglipImageProcessor, ViTImageProcessor and their fast variants. */
export const IMAGE_PROCESSOR: FieldTable = {
  read: names(`
    image_processor_type feature_extractor_type do_resize size resample default_to_square do_center_crop
    crop_size do_rescale rescale_factor do_normalize image_mean image_std
  `),
  harmless: names(`
    processor_class do_convert_rgb return_tensors data_format input_data_format _valid_processor_keys device
    disable_grouping image_seq_length
  `),
  only: { do_pad: [false], do_flip_channel_order: [false], use_square_size: [false] },
};

/** PreTrainedTokenizerBase and the classes that CLIP models use. */
export const TOKENIZER: FieldTable = {
  read: names(`
    tokenizer_class pad_token added_tokens_decoder additional_special_tokens add_bos_token add_eos_token
    do_lower_case strip_accents tokenize_chinese_chars
  `),
  harmless: names(`
    bos_token eos_token unk_token sep_token cls_token mask_token model_max_length max_len max_length stride
    truncation_strategy pad_to_multiple_of pad_token_type_id model_input_names clean_up_tokenization_spaces
    spaces_between_special_tokens errors name_or_path tokenizer_file special_tokens_map_file vocab_file
    merges_file processor_class use_default_system_prompt legacy extra_ids from_slow use_fast trim_offsets
    do_basic_tokenize never_split keep_accents backend is_local unk_token_id chat_template tokenizer_type
  `),
  only: {
    padding_side: ["right"],
    truncation_side: ["right"],
    add_prefix_space: [false],
    split_special_tokens: [false],
    sp_model_kwargs: [{}],
    extra_special_tokens: [{}, []],
  },
};
