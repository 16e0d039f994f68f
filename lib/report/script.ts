/**
 * The page's own script: filters of the gallery, the threshold, the order of the class table. It reads the
 * JSON in #data and sets attributes and text alone; the page's content security policy allows this script by
 * its hash, and no other.
 */
export const SCRIPT = `
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);

const figures = [...at("gallery").children];
const PAGE = 15;
let most = PAGE;
function filter() {
  const [group, label, predicted] = ["group", "label", "predicted"].map((id) => at(id).value);
  const name = at("name").value.toLowerCase();
  let left = 0;
  for (const figure of figures) {
    const d = figure.dataset;
    const shown =
      (!group || d.groups.split(" ").includes(group)) &&
      (!label || d.label === label) &&
      (!predicted || d.predicted === predicted) &&
      d.name.toLowerCase().includes(name);
    if (shown) left++;
    figure.hidden = !shown || left > most;
  }
  at("none").hidden = left > 0;
  at("more").hidden = left <= most;
  at("more").textContent = "show the other " + (left - most);
}
for (const id of ["group", "label", "predicted", "name"])
  at(id).addEventListener("input", () => {
    most = PAGE;
    filter();
  });
at("more").addEventListener("click", () => {
  most = Infinity;
  filter();
});
filter();

const percent = (x) => (Number.isFinite(x) ? (100 * x).toFixed(1) + " %" : "none");
function threshold() {
  const { steps, classes } = data.thresholds;
  const { support, found, right } = classes[at("class").value];
  const t = Number(at("slider").value);
  const precision = right[t] / found[t];
  const recall = right[t] / support;
  at("t").textContent = (t / steps).toFixed(2);
  at("precision").textContent = percent(precision);
  at("recall").textContent = percent(recall);
  at("f1").textContent = percent((2 * right[t]) / (found[t] + support));
  at("found").textContent = found[t];
  at("false").textContent = found[t] - right[t];
  at("missed").textContent = support - right[t];
  const x = (r) => 50 + 350 * r;
  const y = (p) => 280 - 260 * p;
  const points = [];
  for (let i = steps; i >= 0; i--) {
    if (found[i] === 0) continue;
    points.push(x(right[i] / support).toFixed(1) + "," + y(right[i] / found[i]).toFixed(1));
  }
  at("curve").setAttribute("points", support ? points.join(" ") : "");
  const dot = at("dot");
  dot.style.display = support && found[t] ? "" : "none";
  if (support && found[t]) {
    dot.setAttribute("cx", x(recall));
    dot.setAttribute("cy", y(precision));
  }
}
for (const id of ["class", "slider"]) at(id).addEventListener("input", threshold);
threshold();

const body = at("classes");
for (const button of document.querySelectorAll("[data-column]"))
  button.addEventListener("click", () => {
    const column = Number(button.dataset.column);
    const falling = button.dataset.falling !== "yes";
    button.dataset.falling = falling ? "yes" : "";
    const value = (row) => row.cells[column].dataset.value;
    const order = (a, b) => (column ? Number(value(a)) - Number(value(b)) : value(a).localeCompare(value(b)));
    body.append(...[...body.rows].sort((a, b) => (falling ? order(b, a) : order(a, b))));
  });
`;

/** JSON that is safe inside a script element: nothing in it can end the element. */
export function scriptJson(value: unknown): string {
  return JSON.stringify(value)
    .replaceAll("<", "\\u003c")
    .replaceAll("\u2028", "\\u2028")
    .replaceAll("\u2029", "\\u2029");
}
