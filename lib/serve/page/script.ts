/**
 * The page's own script. It writes text and attributes alone, never markup, and asks this server alone; the
 * page's content security policy allows this script by its hash, and no other.
 */
export const PAGE_SCRIPT = `
"use strict";
const at = (id) => document.getElementById(id);
const WAIT = 300; // milliseconds after the last key
let image; // data URI
let models = [];
let running = new AbortController();

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

const option = (name) => element("option", { value: name, textContent: name });

async function ask(path, body, signal) {
  const headers = {};
  const key = at("key").value.trim();
  if (key) headers.authorization = "Bearer " + key;
  if (body) headers["content-type"] = "application/json";
  const method = body ? "POST" : "GET";
  const response = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body) });
  if (response.ok) return response;
  if (response.status === 401) at("key-field").hidden = false;
  const { error } = await response.json().catch(() => ({}));
  throw new Error(error ? error.message : "HTTP " + response.status);
}

function tell(message) {
  at("problem").textContent = message;
  at("problem").hidden = !message;
}

async function findModels() {
  const { data } = await (await ask("v1/models")).json();
  models = data;
  at("model").hidden = false;
  at("model").replaceChildren(...data.map(({ id }) => option(id)));
  tell("");
  showIndexes();
}

const chosen = () => models.find(({ id }) => id === at("model").value);

function showIndexes() {
  const { indexes = [] } = chosen() ?? {};
  at("neighbours").hidden = indexes.length === 0;
  at("index").replaceChildren(...indexes.map(option));
  at("index").hidden = indexes.length < 2;
}

function labelsOf() {
  const labels = at("labels").value.split(/[\\n,]/).map((label) => label.trim());
  return [...new Set(labels.filter(Boolean))];
}

async function classify(signal) {
  const labels = labelsOf();
  at("ranks-hint").hidden = Boolean(image && labels.length);
  if (!image || !labels.length) return at("ranks").replaceChildren();
  const templates = [at("template").value.includes("{}") ? at("template").value : "{}"];
  const body = { model: at("model").value, image, labels, templates, top_k: 20 };
  const { data } = await (await ask("v1/classify", body, signal)).json();
  at("ranks").replaceChildren(...data[0].predictions.map(rankItem));
}

function rankItem({ label, probability, cosine }) {
  const percent = (100 * probability).toFixed(probability < 0.1 ? 2 : 1) + " %";
  const title = "cosine " + cosine.toFixed(4);
  const bar = element("i");
  bar.style.setProperty("--share", (100 * probability).toFixed(2) + "%");
  const name = element("span", { textContent: label });
  const line = element("div", {}, name, element("output", { textContent: percent }));
  return element("li", { title }, line, bar);
}

async function findNeighbours(signal) {
  const { indexes = [] } = chosen() ?? {};
  if (!indexes.length) return;
  const text = at("query").value.trim();
  const query = text || image;
  at("hits-hint").hidden = Boolean(query);
  if (!query) return at("hits").replaceChildren();
  const body = { index: at("index").value, query: text ? { text } : { image }, top_k: 12 };
  const { data } = await (await ask("v1/search", body, signal)).json();
  const figures = await Promise.all(data.map((hit) => figureOf(hit, signal)));
  for (const { src } of at("hits").querySelectorAll("img")) URL.revokeObjectURL(src);
  at("hits").replaceChildren(...figures);
}

async function figureOf({ rank, name, score, image: path }, signal) {
  const score4 = element("b", { textContent: score.toFixed(4) });
  const caption = element("figcaption", {}, rank + ". ", score4, element("br"), name);
  if (!path) return element("figure", {}, caption);
  try {
    const src = URL.createObjectURL(await (await ask("." + path, undefined, signal)).blob());
    return element("figure", {}, element("img", { src, alt: name }), caption);
  } catch (error) {
    if (signal.aborted) throw error;
    return element("figure", {}, caption);
  }
}

async function update() {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  document.body.setAttribute("aria-busy", "true");
  try {
    await Promise.all([classify(signal), findNeighbours(signal)]);
    tell("");
  } catch (error) {
    if (!signal.aborted) tell(error.message);
  } finally {
    if (!signal.aborted) document.body.setAttribute("aria-busy", "false");
  }
}

let timer;
const later = () => {
  clearTimeout(timer);
  timer = setTimeout(update, WAIT);
};

function take(file) {
  if (!file) return;
  const reader = new FileReader();
  reader.onload = () => {
    // A file of an unknown ending has another type; the server looks at its content.
    image = reader.result.replace(/^data:(?!image\\/)[^;,]*/, "data:application/octet-stream");
    at("preview").src = URL.createObjectURL(file);
    at("preview").alt = file.name || "the image";
    at("preview").hidden = false;
    at("drop-hint").hidden = true;
    at("query").value = "";
    update();
  };
  reader.readAsDataURL(file);
}

at("file").addEventListener("change", () => take(at("file").files[0]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
document.addEventListener("dragleave", () => at("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  take(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
for (const id of ["labels", "template", "query"]) at(id).addEventListener("input", later);
at("index").addEventListener("change", update);
at("model").addEventListener("change", () => {
  showIndexes();
  update();
});
at("key").addEventListener("change", () => {
  findModels().then(update, (error) => tell(error.message));
});
findModels().catch((error) => tell(at("key-field").hidden ? error.message : "This server needs an API key."));
`;
