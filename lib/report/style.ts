/** The page is as wide as the device. */
export const VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">';

/** What the pages share; light and dark, from 360 pixels on. */
export const STYLE = `
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --ground: #ffffff; --card: #f6f8fa;
  --line: #d1d9e0; --good: #1a7f37; --bad: #cf222e; --bar: #3b82f6; --bar2: #93c5fd; }
@media (prefers-color-scheme: dark) { :root { --ink: #f0f6fc; --soft: #9198a1; --ground: #0d1117;
  --card: #151b23; --line: #3d444d; --good: #3fb950; --bad: #f85149; --bar: #4c8ff7; --bar2: #27548f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1060px; padding: 24px 16px 64px;
  font: 16px/1.5 system-ui, "torchclip fallback", sans-serif; color: var(--ink);
  background: var(--ground); overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0 0 4px; line-height: 1.25; }
h2 { font-size: 1.2rem; margin: 40px 0 8px; }
p.sub { color: var(--soft); margin: 0 0 16px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 6px 12px; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 0; }
figcaption { font-size: .85rem; line-height: 1.35; margin-top: 4px; }
img { max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: 8px; background: #fff;
  display: block; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px;
  overflow-x: auto;
  font: .8rem/1.5 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", "torchclip fallback", monospace; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(180px, 44%), 1fr));
  gap: 16px; }
`;

/** The report alone. */
export const REPORT_STYLE = `
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(210px, 100%), 1fr));
  gap: 12px; }
.figure { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px; }
.figure b { display: block; font-size: 1.5rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.figure span { color: var(--soft); font-size: .85rem; display: block; }
.figure.first { grid-column: 1 / -1; }
.figure.first b { font-size: 2.6rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr));
  gap: 16px; }
.chart { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px;
  min-width: 0; }
.chart svg { width: 100%; height: auto; display: block; }
.chart svg .mark-rect { shape-rendering: crispEdges; }
.chart h3 { margin: 0 0 2px; font-size: 1rem; }
.chart p { margin: 0 0 10px; color: var(--soft); font-size: .85rem; min-height: 2.9em; }
.chart svg text { font-family: inherit; }
.chart svg .role-axis text, .chart svg .role-legend text, .chart svg text.soft { fill: var(--soft); }
.filters { display: flex; flex-wrap: wrap; gap: 8px 16px; margin: 12px 0 16px; align-items: center; }
.filters label { display: flex; gap: 6px; align-items: center; font-size: .9rem; }
select, input[type=search] { font: inherit; font-size: .9rem; color: inherit; background: var(--card);
  border: 1px solid var(--line); border-radius: 6px; padding: 4px 8px; max-width: min(18rem, 70vw); }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(170px, 44%), 1fr));
  gap: 16px; }
.gallery img { width: 100%; aspect-ratio: 1; object-fit: contain; border-width: 2px; }
.right img { border-color: var(--good); }
.wrong img { border-color: var(--bad); }
.right b { color: var(--good); }
.wrong b { color: var(--bad); }
figcaption small { color: var(--soft); display: block; }
#more { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: 6px; padding: 6px 14px; margin-top: 16px; cursor: pointer; }
[hidden] { display: none !important; }
.threshold { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr));
  gap: 16px; }
.threshold input[type=range] { width: 100%; accent-color: var(--bar); }
.threshold dl { display: grid; grid-template-columns: repeat(3, 1fr); gap: 12px; margin: 12px 0 0; }
.threshold dt { color: var(--soft); font-size: .85rem; }
.threshold dd { margin: 0; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.bars { max-height: 36rem; overflow: auto; border: 1px solid var(--line); border-radius: 8px; }
.bars table { width: 100%; }
.bars thead th { position: sticky; top: 0; background: var(--card); font-weight: 600; }
.bars tr:last-child td { border-bottom: 0; }
.bars td:first-child, .bars th:first-child { white-space: normal; min-width: 7rem; }
.bars button { all: unset; cursor: pointer; }
.bars button:focus-visible { outline: 2px solid var(--bar); }
.bar { display: flex; align-items: center; gap: 8px; justify-content: flex-end; }
.bar i { flex: 1; min-width: 56px; height: 10px; border-radius: 3px;
  background: linear-gradient(var(--bar), var(--bar)) 0 / var(--share) 100% no-repeat var(--line); }
@media (max-width: 600px) {
  .bars th, .bars td { padding: 6px 4px; font-size: .8rem; }
  .bar { flex-direction: column-reverse; align-items: stretch; gap: 3px; text-align: right; }
  .bar i { flex: none; min-width: 40px; height: 6px; }
  .bars td:first-child, .bars th:first-child { min-width: 4.5rem; }
}
details { margin-top: 40px; }
summary { cursor: pointer; font-size: 1.2rem; font-weight: 600; }
.pair { display: flex; flex-wrap: wrap; gap: 20px; align-items: flex-start; }
.pair img { width: 300px; }
.pair pre { font-size: .9rem; margin: 0; max-width: 100%; }
`;

/** The report of a retrieval. */
export const RETRIEVAL_STYLE = `
td small { display: block; color: var(--soft); font-size: .75rem; }
.definitions, .queries, .captions { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); }
.definition, .query, .caption { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 14px; min-width: 0; }
.definition h3 { margin: 0 0 4px; font-size: 1rem; }
.definition p.sub { font-size: .85rem; }
@media (min-width: 960px) { .definition p.sub { min-height: 4.5em; } }
.definition table { width: 100%; }
.definition tr:last-child td { border-bottom: 0; }
.query { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); gap: 14px; }
.query p, .caption p { margin: 0 0 8px; }
.query ol { margin: 0; padding-left: 1.4em; font-size: .9rem; }
.query small, .caption small { color: var(--soft); font-variant-numeric: tabular-nums; }
.query img, .hits img { width: 100%; aspect-ratio: 1; object-fit: contain; }
p.rank { color: var(--bad); font-weight: 600; font-size: .9rem; }
.query .right { color: var(--good); }
.caption { display: flex; flex-direction: column; justify-content: space-between; }
.hits { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 8px; }
.hits .right img { border-width: 2px; }
.missing { color: var(--soft); font-size: .85rem; }
@media (max-width: 600px) {
  .definition th, .definition td { padding: 6px 3px; font-size: .85rem; white-space: normal; }
  .query { gap: 10px; }
}
`;
