/** Rules of the server's page beside those that all pages share (`STYLE` of lib/report). */
export const PAGE_STYLE = `
header { display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: baseline; margin-bottom: 16px; }
header h1 { margin: 0; flex: 1 1 auto; }
header a { color: var(--bar); }
main { display: grid; gap: 24px; grid-template-columns: repeat(auto-fit, minmax(min(320px, 100%), 1fr)); }
main > * { min-width: 0; }
h2 { margin: 0 0 12px; }
.field { display: block; margin: 0 0 16px; }
.field > span { display: block; font-size: .85rem; color: var(--soft); margin-bottom: 4px; }
input[type=text], input[type=password], textarea, select { font: inherit; color: inherit; width: 100%;
  background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; }
header select { width: auto; max-width: min(18rem, 70vw); padding: 4px 8px; }
textarea { resize: vertical; min-height: 6.5em; }
.drop { display: grid; place-items: center; min-height: 260px; padding: 12px; margin: 0 0 16px;
  border: 2px dashed var(--line); border-radius: 12px; background: var(--card); text-align: center;
  cursor: pointer; }
.drop:hover, .drop.over { border-color: var(--bar); }
.drop:focus-within { outline: 2px solid var(--bar); outline-offset: 2px; }
.drop input { position: absolute; width: 1px; height: 1px; opacity: 0; }
.drop img { max-height: 320px; border: 0; }
.drop small { display: block; color: var(--soft); }
.ranks { list-style: none; margin: 0; padding: 0; display: grid; gap: 10px; }
.ranks div { display: flex; justify-content: space-between; gap: 12px; }
.ranks output { white-space: nowrap; font-variant-numeric: tabular-nums; color: var(--soft); }
.ranks i { display: block; height: 8px; margin-top: 4px; border-radius: 4px;
  background: linear-gradient(var(--bar), var(--bar)) 0 / var(--share) 100% no-repeat var(--line); }
.ranks li:first-child output { color: inherit; font-weight: 600; }
#neighbours { margin-top: 32px; }
.sheet figure img { width: 100%; aspect-ratio: 1; object-fit: contain; }
.sheet figcaption { color: var(--soft); }
.sheet figcaption b { color: var(--ink); font-variant-numeric: tabular-nums; }
.hint { color: var(--soft); margin: 0; }
#problem { color: var(--bad); margin: 0 0 16px; }
[hidden] { display: none !important; }
`;
