import { TorchclipError } from "../../errors.js";

type Json = Record<string, unknown>;

interface Family {
  /** open_clip's names. */
  names: RegExp;
  vision?: Json;
  text?: Json;
  preprocess?: Json;
}

const SQUASH_HALF = {
  resize_mode: "squash",
  interpolation: "bicubic",
  mean: [0.5, 0.5, 0.5],
  std: [0.5, 0.5, 0.5],
};
const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
const UNIT = { mean: [0, 0, 0], std: [1, 1, 1] };
const SIGLIP_TEXT = {
  no_causal_mask: true,
  pool_type: "last",
  norm_kwargs: { eps: 1e-6 },
  tokenizer_kwargs: { clean: "canonicalize" },
};

/**
 * What the weights' shapes do not tell of open_clip's named architectures (open_clip/model_configs and
 * pretrained.py); everything else is read from the shapes.
 */
const FAMILIES: readonly Family[] = [
  { names: /^RN(50|101|50x4|50x16|50x64)$/ },
  { names: /^ViT-[BLS]-\d+(-plus-240|-256|-336|-alt)?$/ },
  { names: /^ViT-H-14(-336|-378|-worldwide(-378)?)?$/, vision: { head_width: 80 } },
  { names: /^ViT-g-14$/, vision: { head_width: 88 } },
  { names: /^ViT-bigG-14$/, vision: { head_width: 104 } },
  { names: /^ViT-L-14-CLIPA(-336)?$/, ...clipa() },
  { names: /^ViT-H-14-CLIPA(-336)?$/, ...clipa(80) },
  { names: /^ViT-bigG-14-CLIPA(-336)?$/, ...clipa(104) },
  { names: /^coca_ViT-(B-32|L-14)$/, vision: { attn_pooler_heads: 8 } },
  { names: /^convnext_\w*_320$/, vision: { timm_model_name: "convnext", image_size: 320 } },
  { names: /^convnext_base$/, vision: { timm_model_name: "convnext", image_size: 224 } },
  { names: /^convnext_(base_w|large_d|xxlarge)$/, vision: { timm_model_name: "convnext", image_size: 256 } },
  {
    names: /^(xlm-)?roberta-(base|large)-ViT-[BH]-\d+$|^roberta-ViT-B-32$/,
    text: { hf_pooler_type: "mean_pooler" },
  },
  { names: /^EVA01-g-14(-plus)?$/, vision: { timm_model_name: "eva_giant_patch14_224" } },
  { names: /^EVA02-B-16$/, vision: { timm_model_name: "eva02_base_patch16_clip_224" } },
  { names: /^EVA02-L-14(-336)?$/, vision: { timm_model_name: "eva02_large_patch14_clip" } },
  { names: /^EVA02-E-14(-plus)?$/, vision: { timm_model_name: "eva02_enormous_patch14_clip_224" } },
  {
    names: /^MobileCLIP2?-S[0-2]$/,
    vision: { timm_model_name: "fastvit", image_size: 256 },
    text: { no_causal_mask: true },
    preprocess: { interpolation: "bilinear", ...UNIT },
  },
  {
    names: /^MobileCLIP2-S[34]$/,
    vision: { timm_model_name: "fastvit", image_size: 256 },
    text: { no_causal_mask: true },
    preprocess: { interpolation: "bilinear" },
  },
  {
    names: /^MobileCLIP2?-B$/,
    vision: { timm_model_name: "vit_base_mci_224" },
    preprocess: { interpolation: "bilinear", ...UNIT },
  },
  {
    names: /^MobileCLIP2-L-14$/,
    vision: { timm_model_name: "vit_large_patch14_clip_224" },
    text: { no_causal_mask: true },
  },
  { names: /^ViT-B-16-SigLIP(-i18n-256|-256|-384|-512)?$/, ...siglip("vit_base_patch16_siglip") },
  { names: /^ViT-L-16-SigLIP-(256|384)$/, ...siglip("vit_large_patch16_siglip") },
  { names: /^ViT-SO400M-\d+-SigLIP(-i18n-256|-378|-384)?$/, ...siglip("vit_so400m_siglip") },
  { names: /^ViT-B-32-SigLIP2-256$/, ...siglip("vit_base_patch32_siglip", true) },
  { names: /^ViT-B-16-SigLIP2(-256|-384|-512)?$/, ...siglip("vit_base_patch16_siglip", true) },
  { names: /^ViT-L-16-SigLIP2-(256|384|512)$/, ...siglip("vit_large_patch16_siglip", true) },
  { names: /^ViT-SO400M-\d+-SigLIP2(-\d+)?$/, ...siglip("vit_so400m_siglip", true) },
  { names: /^ViT-gopt-16-SigLIP2-(256|384)$/, ...siglip("vit_giantopt_patch16_siglip", true) },
];

function clipa(headWidth?: number): Omit<Family, "names"> {
  return {
    vision: { pool_type: "avg", final_ln_after_pool: true, ...(headWidth ? { head_width: headWidth } : {}) },
    text: { no_causal_mask: true, pool_type: "last", tokenizer_kwargs: { strip_sep_token: true } },
    preprocess: { resize_mode: "squash", interpolation: "bilinear", ...IMAGENET },
  };
}

function siglip(timm: string, tanh = false): Omit<Family, "names"> {
  return {
    vision: { timm_model_name: timm },
    text: { ...SIGLIP_TEXT, ...(tanh ? { act_kwargs: { approximate: "tanh" } } : {}) },
    preprocess: SQUASH_HALF,
  };
}

/** open_clip's config of a named architecture, "-quickgelu" at the end of the name included. */
export function namedArchitecture(name: string): { model: Json; preprocess: Json } {
  const quick = name.endsWith("-quickgelu");
  const plain = quick ? name.slice(0, -"-quickgelu".length) : name;
  const family = FAMILIES.find((f) => f.names.test(plain));
  if (!family) {
    throw new TorchclipError(
      "E_ARGUMENT",
      `no architecture is called "${name}"; it goes by open_clip's names, such as ` +
        "ViT-B-32, ViT-L-14-336-quickgelu, ViT-B-16-SigLIP, EVA02-L-14",
      { subject: "arch" },
    );
  }
  // SigLIP's images need be no multiple of the patch (384 pixels of 14): the name says their size.
  const side = Number(/-(\d{3})$/.exec(plain)?.[1] ?? 224);
  const named = plain.includes("SigLIP") ? { image_size: side } : {};
  return {
    model: { quick_gelu: quick, vision_cfg: { ...family.vision, ...named }, text_cfg: family.text ?? {} },
    preprocess: family.preprocess ?? {},
  };
}
