// Circles of a graph.

/** @typedef {{ from: string, to: string }} Arrow */

/**
 * The sets of two or more nodes that reach one another (strongly connected components), each sorted.
 * @param {readonly Arrow[]} edges
 */
export function circlesOf(edges) {
  const next = neighbours(edges);
  /** @type {Map<string, number>} */
  const lowest = new Map(); // of each node that was visited
  /** @type {string[]} */
  const open = [];
  /** @type {string[][]} */
  const circles = [];
  /**
   * Tarjan, Depth-first search and linear graph algorithms, 1972. Returns the node's lowest number.
   * @param {string} node
   */
  const visit = (node) => {
    const number = lowest.size; // in the order of the first visit
    let least = number;
    lowest.set(node, number);
    open.push(node);
    for (const other of next.get(node) ?? []) {
      const reached = lowest.get(other) ?? visit(other);
      if (open.includes(other)) least = Math.min(least, reached);
    }
    lowest.set(node, least);
    if (least !== number) return least;
    const circle = open.splice(open.indexOf(node));
    if (circle.length > 1) circles.push(circle.sort());
    return least;
  };
  for (const node of next.keys()) if (!lowest.has(node)) visit(node);
  return circles;
}

/**
 * A shortest path of edges, as its nodes with both ends; undefined where there is none.
 * @param {readonly Arrow[]} edges
 * @param {string} from
 * @param {string} to
 */
export function pathBetween(edges, from, to) {
  const next = neighbours(edges);
  /** @type {Map<string, string | undefined>} */
  const before = new Map([[from, undefined]]);
  for (const node of before.keys()) {
    if (node === to) return trace(before, to);
    for (const other of next.get(node) ?? []) if (!before.has(other)) before.set(other, node);
  }
  return undefined;
}

/**
 * @param {ReadonlyMap<string, string | undefined>} before the node before each one
 * @param {string} node
 * @returns {string[]}
 */
function trace(before, node) {
  const earlier = before.get(node);
  return earlier === undefined ? [node] : [...trace(before, earlier), node];
}

/** @param {readonly Arrow[]} edges */
function neighbours(edges) {
  /** @type {Map<string, string[]>} */
  const next = new Map();
  for (const { from, to } of edges) next.set(from, [...(next.get(from) ?? []), to]);
  return next;
}
