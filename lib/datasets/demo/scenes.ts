import { below, pick, seededRandom, type Random } from "../../util/random.js";

/**
 * The data set `scenes`: coloured shapes on a pale ground, drawn from a seed. Its classes are the 24 pairs of
 * a colour and a shape; an image shows one to three of its shape, at any place.
 */
export const COLORS = {
  red: "#d62728",
  green: "#2ca02c",
  blue: "#1f4fd6",
  yellow: "#f2c500",
  purple: "#8a2be2",
  orange: "#ff7f0e",
} as const;
export const SHAPES = ["circle", "square", "triangle", "star"] as const;
export type Color = keyof typeof COLORS;
export type Shape = (typeof SHAPES)[number];

export interface Scene {
  color: Color;
  shape: Shape;
  /** Centres and radii in pixels of the 448 × 448 image. */
  items: { x: number; y: number; r: number; turn: number }[];
  background: string;
}

/** The classes in their order: a colour and a shape each. */
const PAIRS = (Object.keys(COLORS) as Color[]).flatMap((color) => SHAPES.map((shape) => ({ color, shape })));

export const SCENE_CLASSES: readonly string[] = PAIRS.map(({ color, shape }) => `${color} ${shape}`);

const SIZE = 448;
const GROUNDS = ["#ffffff", "#f4f1ea", "#e8eef4", "#e9f2e6", "#eeeeee"];

/** A random scene of one class; `count` shapes (default 1 to 3) that do not touch each other. */
export function scene(
  random: Random,
  classId = below(random, SCENE_CLASSES.length),
  count = 1 + below(random, 3),
): Scene {
  const pair = PAIRS[classId];
  if (!pair) throw new RangeError(`there is no class ${classId} of scenes`);
  const items: Scene["items"] = [];
  while (items.length < count) {
    const r = 44 + random() * (count === 1 ? 76 : 36);
    const x = r + 6 + random() * (SIZE - 2 * r - 12);
    const y = r + 6 + random() * (SIZE - 2 * r - 12);
    const free = items.every((o) => Math.hypot(o.x - x, o.y - y) > o.r + r + 8);
    if (free) items.push({ x, y, r, turn: (random() - 0.5) * 0.5 });
  }
  return { ...pair, items, background: pick(random, GROUNDS) };
}

/** The i-th image of a split of the data set; the splits' seeds do not meet. */
export function datasetScene(split: "train" | "valid" | "test", classId: number, index: number): Scene {
  const base = { train: 0x1000000, valid: 0x2000000, test: 0x3000000 }[split];
  return scene(seededRandom(base + classId * 65536 + index), classId);
}

export function sceneSvg(s: Scene): string {
  const fill = COLORS[s.color];
  const marks = s.items.map((i) => shapeSvg(s.shape, i.x, i.y, i.r, i.turn, fill)).join("");
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${SIZE}" height="${SIZE}">` +
    `<rect width="${SIZE}" height="${SIZE}" fill="${s.background}"/>${marks}</svg>`
  );
}

function shapeSvg(shape: Shape, x: number, y: number, r: number, turn: number, fill: string): string {
  if (shape === "circle")
    return `<circle cx="${x.toFixed(2)}" cy="${y.toFixed(2)}" r="${r.toFixed(2)}" fill="${fill}"/>`;
  const points = cornersOf(shape, x, y, r, turn).map(([a, b]) => `${a.toFixed(2)},${b.toFixed(2)}`);
  return `<polygon points="${points.join(" ")}" fill="${fill}"/>`;
}

function cornersOf(
  shape: Exclude<Shape, "circle">,
  x: number,
  y: number,
  r: number,
  turn: number,
): [number, number][] {
  switch (shape) {
    case "square":
      return ring(x, y, r, 4, turn + Math.PI / 4);
    case "triangle":
      return ring(x, y, r, 3, turn - Math.PI / 2);
    case "star":
      return star(x, y, r, turn);
  }
}

function ring(x: number, y: number, r: number, n: number, turn: number): [number, number][] {
  return Array.from({ length: n }, (_, i) => {
    const a = turn + (2 * Math.PI * i) / n;
    return [x + r * Math.cos(a), y + r * Math.sin(a)];
  });
}

function star(x: number, y: number, r: number, turn: number): [number, number][] {
  return Array.from({ length: 10 }, (_, i) => {
    const a = turn - Math.PI / 2 + (Math.PI * i) / 5;
    const q = i % 2 ? r * 0.42 : r;
    return [x + q * Math.cos(a), y + q * Math.sin(a)];
  });
}

const COUNTS = ["no", "one", "two", "three"];

/** The end of a range of 0 … SIZE in which a place clearly lies; "" for the middle. */
function endOf(place: number, first: string, last: string): string {
  if (place < SIZE * 0.42) return first;
  return place > SIZE * 0.58 ? last : "";
}

/** Captions that are true of a scene, for training: class, count, and place where there is one shape. */
export function sceneCaptions(s: Scene): string[] {
  const name = `${s.color} ${s.shape}`;
  const article = s.color === "orange" ? "an" : "a";
  const [first, ...others] = s.items;
  const common = [`a photo of ${article} ${name}`, `a photo of a ${name}`, `${article} ${name}`];
  if (!first || others.length > 0) {
    const count = COUNTS[s.items.length] ?? String(s.items.length);
    return [...common, `${count} ${name}s`, `a photo of ${count} ${name}s`];
  }
  const side = endOf(first.x, "left", "right");
  const end = endOf(first.y, "top", "bottom");
  return [
    ...common,
    `one ${name}`,
    ...(side ? [`${article} ${name} on the ${side}`] : []),
    ...(end ? [`${article} ${name} at the ${end}`] : []),
  ];
}
