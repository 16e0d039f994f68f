import { names, type FieldTable } from "./field-table.js";

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

/** open_clip_config.json (open_clip/push_to_hf_hub.py). */
export const CONFIG: FieldTable = { read: ["model_cfg", "preprocess_cfg"], harmless: [] };

/** model_cfg. */
export const MODEL: FieldTable = {
  read: ["quick_gelu", "vision_cfg", "text_cfg"],
  harmless: names(`
    embed_dim custom_text multimodal_cfg init_logit_scale init_logit_bias cast_dtype output_dict
  `),
  only: { nonscalar_logit_scale: [false] },
};

/** vision_cfg. */
export const VISION: FieldTable = {
  read: names(`
    image_size head_width pool_type final_ln_after_pool attn_pooler_heads act_kwargs norm_kwargs
    timm_model_name timm_pool
  `),
  harmless: names(`
    layers width mlp_ratio patch_size ls_init_value patch_dropout no_ln_pre attn_pooler_queries output_tokens
    pos_embed_type timm_model_pretrained timm_proj timm_proj_bias timm_drop timm_drop_path
  `),
  only: { ...PLAIN_BLOCKS, attentional_pool: [true, false], timm_model_kwargs: [{}] },
};

/** text_cfg. */
export const TEXT: FieldTable = {
  read: names(`
    heads context_length pool_type no_causal_mask pad_id eos_id act_kwargs norm_kwargs tokenizer_kwargs
    hf_tokenizer_name hf_model_name hf_pooler_type
  `),
  harmless: [
    ...names("layers width mlp_ratio ls_init_value vocab_size embed_cls proj_bias output_tokens bos_id"),
    ...names("tiktoken_name hf_model_pretrained"),
    // A norm of one token alone: the same before and after the pooling.
    "final_ln_after_pool",
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
};

/** preprocess_cfg. */
export const PREPROCESS: FieldTable = {
  read: ["mean", "std", "interpolation", "resize_mode", "fill_color"],
  harmless: ["size"], // the model's own image size is used
  only: { mode: ["RGB"] },
};
