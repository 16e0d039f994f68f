// The judgement: which uses break the table, which files form circles, which exceptions are no longer needed.
/** @import { Edge, Exception, Table } from "./types.js" */
import { circlesOf, pathBetween } from "./circles.mjs";
import { isExternal, layerOf, placeOf } from "./table.mjs";

/**
 * One edge a pair of files; it is type-only where every import of the pair is.
 * @param {readonly Edge[]} edges
 */
export function mergeEdges(edges) {
  /** @type {Map<string, Edge>} */
  const merged = new Map();
  for (const edge of edges) {
    const key = `${edge.from} ${edge.to}`;
    const typeOnly = edge.typeOnly && (merged.get(key)?.typeOnly ?? true);
    if (edge.from !== edge.to) merged.set(key, { ...edge, typeOnly });
  }
  return [...merged.values()];
}

/**
 * A sentence for each file that no layer holds, and for each place in the table where no file is.
 * @param {Table} table
 * @param {readonly string[]} files
 */
export function misplaced(table, files) {
  const homeless = files.filter((file) => !layerOf(table, file));
  const inUse = new Set(files.map((file) => placeOf(table, file)?.place));
  const places = table.layers.flatMap((layer) => layer.files.map((place) => ({ name: layer.name, place })));
  const empty = places.filter(({ place }) => !inUse.has(place));
  return [
    ...homeless.map((file) => `${file}: no layer of the table holds it; add its folder`),
    ...empty.map(({ name, place }) => `${name}: no file is in ${place}; remove it from the table`),
  ];
}

/**
 * A sentence for a use that the table does not allow; undefined where it does, or a file has no layer.
 * @param {Table} table
 * @param {Edge} edge
 */
export function breakOf(table, { from, to, typeOnly }) {
  const layer = layerOf(table, from);
  const other = layerOf(table, to)?.name;
  if (!layer || layer.name === other || layer.external.includes(to)) return undefined;
  if (isExternal(table, to)) return `${from} uses ${to}; ${layer.name} may not`;
  if (!other) return undefined;
  if (layer.uses.includes(other) || (typeOnly && layer.types.includes(other))) return undefined;
  const but = layer.types.includes(other) ? "may import types of it alone" : "may not use it";
  return `${from} → ${to}: ${layer.name} ${but}`;
}

/**
 * Returns a sentence for each problem of `edges`. An exception forgives one edge, in layers and in circles.
 * It is stale where the edge is gone, or breaks no layer and closes no circle.
 * @param {Table} table
 * @param {readonly Edge[]} edges
 */
export function judge(table, edges) {
  const { exceptions } = table;
  /** @typedef {{ from: string, to: string }} Arrow */
  /** @type {(one: Arrow) => (other: Arrow) => boolean} */
  const same = (one) => (other) => one.from === other.from && one.to === other.to;
  const kept = edges.filter((edge) => !exceptions.some(same(edge)));
  /** @param {Edge} edge */
  const closesCircle = ({ from, to }) => pathBetween(kept, to, from) !== undefined;
  /** @param {Exception} exception */
  const needed = (exception) => {
    const edge = edges.find(same(exception));
    return edge !== undefined && (breakOf(table, edge) !== undefined || closesCircle(edge));
  };
  /** @type {(exception: Exception, index: number) => boolean} */
  const isSecond = (exception, index) => exceptions.findIndex(same(exception)) < index;
  const stale = exceptions.filter((exception, index) => isSecond(exception, index) || !needed(exception));
  return [
    ...kept.map((edge) => breakOf(table, edge)).filter((sentence) => sentence !== undefined),
    ...circlesOf(kept).map((circle) => `a circle: ${describe(kept, circle)}`),
    ...stale.map(({ from, to }) => `the exception ${from} → ${to} is no longer needed; remove it`),
  ];
}

/**
 * @param {readonly Edge[]} edges
 * @param {readonly string[]} circle
 */
function within(edges, circle) {
  return edges.filter(({ from, to }) => circle.includes(from) && circle.includes(to));
}

/**
 * "a → b → a": a shortest way round, from the first file of those that it can start at.
 * @param {readonly Edge[]} edges
 * @param {readonly string[]} circle
 */
function describe(edges, circle) {
  const inside = within(edges, circle);
  const ways = inside.map(({ from, to }) => [from, ...(pathBetween(inside, to, from) ?? [])]);
  const least = Math.min(...ways.map((way) => way.length));
  const [first] = ways.filter((way) => way.length === least).sort();
  return first.join(" → ");
}

/**
 * The circles as they are, exceptions aside: of files, and of layers.
 * @param {Table} table
 * @param {readonly Edge[]} edges
 */
export function circleReport(table, edges) {
  const files = circlesOf(edges).map((circle) => {
    const inside = within(edges, circle);
    const types = inside.filter(({ typeOnly }) => typeOnly).length;
    const withoutTypes = circlesOf(inside.filter(({ typeOnly }) => !typeOnly));
    return { circle, uses: inside.length, types, byTypesAlone: withoutTypes.length === 0 };
  });
  const between = edges.flatMap((edge) => {
    const [from, to] = [edge.from, edge.to].map((file) => layerOf(table, file)?.name);
    return from === undefined || to === undefined || from === to ? [] : [{ from, to }];
  });
  const layers = circlesOf(between);
  return { files, layers };
}
