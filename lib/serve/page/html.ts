import { createHash } from "node:crypto";
import { STYLE, VIEWPORT } from "../../report/style.js";
import { PAGE_SCRIPT } from "./script.js";
import { PAGE_STYLE } from "./style.js";

/** The page's own script, and requests to this server alone. */
export const PAGE_POLICY = [
  "default-src 'none'",
  `script-src 'sha256-${createHash("sha256").update(PAGE_SCRIPT).digest("base64")}'`,
  "style-src 'unsafe-inline'",
  "img-src blob: data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** The page at `/`: an image and labels, their probabilities, and the nearest rows of an index. */
export const PAGE = `<!doctype html>
<html lang="en"><head><meta charset="utf-8">${VIEWPORT}<title>torchclip</title>
<style>${STYLE}${PAGE_STYLE}</style></head><body>
<header><h1>torchclip</h1><select id="model" aria-label="model" hidden></select>
<a href="docs">HTTP interface</a></header>
<p id="problem" role="alert" hidden></p>
<label class="field" id="key-field" hidden><span>API key</span>
<input id="key" type="password" autocomplete="off"></label>
<main>
<section aria-labelledby="image-title"><h2 id="image-title">Image</h2>
<label class="drop" id="drop"><input id="file" type="file" accept="image/*">
<img id="preview" alt="" hidden>
<span id="drop-hint">Drop an image here<small>or click to choose one, or paste it</small></span></label>
<label class="field"><span>Labels, one a line or separated by commas</span>
<textarea id="labels" spellcheck="false" placeholder="cat, dog, bird"></textarea></label>
<label class="field"><span>Prompt, with {} for the label</span>
<input id="template" type="text" value="a photo of a {}" spellcheck="false"></label></section>
<section aria-labelledby="ranks-title"><h2 id="ranks-title">Probabilities</h2>
<p class="hint" id="ranks-hint">Give an image and labels: their probabilities appear here. They are shares
among these labels, and add up to 100 % for models with the softmax loss.</p>
<ol class="ranks" id="ranks" aria-live="polite"></ol></section>
</main>
<section id="neighbours" aria-labelledby="hits-title" hidden><h2 id="hits-title">Nearest neighbours</h2>
<label class="field"><span>Search by a text instead of the image</span>
<input id="query" type="text" placeholder="a red circle"></label>
<select class="field" id="index" aria-label="index" hidden></select>
<p class="hint" id="hits-hint">Give an image or a text: the nearest rows of the index appear here.</p>
<div class="sheet" id="hits" aria-live="polite"></div></section>
<script>${PAGE_SCRIPT}</script>
</body></html>
`;
