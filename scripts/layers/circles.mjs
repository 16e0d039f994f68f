// Circles of a graph whose edges are `{ from, to }`.

/** The sets of two or more nodes that reach one another (strongly connected components), each sorted. */
export function circlesOf(edges) {
  const next = neighbours(edges);
  const number = new Map(); // in the order of the first visit
  const lowest = new Map();
  const open = [];
  const circles = [];
  // Tarjan, Depth-first search and linear graph algorithms, 1972.
  const visit = (node) => {
    number.set(node, number.size);
    lowest.set(node, number.get(node));
    open.push(node);
    for (const other of next.get(node) ?? []) {
      if (!number.has(other)) visit(other);
      if (open.includes(other)) lowest.set(node, Math.min(lowest.get(node), lowest.get(other)));
    }
    if (lowest.get(node) !== number.get(node)) return;
    const circle = open.splice(open.indexOf(node));
    if (circle.length > 1) circles.push(circle.sort());
  };
  for (const node of next.keys()) if (!number.has(node)) visit(node);
  return circles;
}

/** A shortest path of edges, as its nodes with both ends; undefined where there is none. */
export function pathBetween(edges, from, to) {
  const next = neighbours(edges);
  const before = new Map([[from, undefined]]);
  for (const node of before.keys()) {
    if (node === to) return trace(before, to);
    for (const other of next.get(node) ?? []) if (!before.has(other)) before.set(other, node);
  }
  return undefined;
}

function trace(before, node) {
  const earlier = before.get(node);
  return earlier === undefined ? [node] : [...trace(before, earlier), node];
}

function neighbours(edges) {
  const next = new Map();
  for (const { from, to } of edges) next.set(from, [...(next.get(from) ?? []), to]);
  return next;
}
