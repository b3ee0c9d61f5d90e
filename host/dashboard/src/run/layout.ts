/** A graph as boxes and lines: a tree, laid out from the inside out, so that nothing overlaps. No DOM. */

import type { Happened } from "./happened";
import type { ShapeItem } from "./code-model";

export interface Box {
  key: string;
  kind: string;
  label: string;
  text: string;
  /** The path of its calls without turns; "" where it stands for the calls by their indexes, or for none. */
  place: string;
  calls: number[] | null;
  x: number;
  y: number;
  w: number;
  arm: boolean;
}
export interface Edge {
  path: string;
  from: string[];
  to: string[];
}
export interface Frame {
  x: number;
  y: number;
  w: number;
  h: number;
  label: string;
}
export interface Layout {
  boxes: Box[];
  edges: Edge[];
  frames: Frame[];
  w: number;
  h: number;
}

export const HIGH = 27;
const GAP = 22;
const ARMS = 6;
const PAD = 8;
const CHAR = 6.65;

/** What is drawn: a box, and what is in it, in arms of one after the other. */
interface Item {
  kind: string;
  label: string;
  text: string;
  place: string;
  calls: number[] | null;
  arms: { text: string; items: Item[] }[];
  /** How high above it its condition is written. */
  lift?: number;
}

/** A rectangle that knows its axis; `paint` puts it at a place and gives the ends that the next one is joined to. */
interface Piece {
  w: number;
  h: number;
  axis: number;
  paint: (out: Layout, x: number, y: number, from: End[]) => End[];
}
interface End {
  x: number;
  y: number;
  keys: string[];
}

export const layoutOfShape = (items: readonly ShapeItem[]): Layout => layout(items.map(fromShape));
export const layoutOfHappened = (items: readonly Happened[]): Layout => layout(items.map(fromHappened));

const fromShape = (item: ShapeItem): Item => ({
  kind: item.kind,
  label: item.id,
  text: item.text,
  place: item.place,
  calls: null,
  arms: item.arms.map((arm) => ({ text: arm.text, items: arm.items.map(fromShape) })),
});

const fromHappened = (one: Happened): Item => {
  const text = one.times > 1 ? `×${one.times}` : "";
  if (one.kind === "call") return { kind: "step", label: one.label, text: "", place: "", calls: one.calls, arms: [] };
  const inside = one.items.map(fromHappened);
  if (one.kind === "together") return { kind: "parallel", label: "", text, place: "", calls: null, arms: inside.map((item) => ({ text: "", items: [item] })) };
  return { kind: one.kind, label: one.label, text, place: "", calls: one.kind === "scope" ? one.calls : null, arms: [{ text: "", items: inside }] };
};

let keys = 0;

function layout(items: Item[]): Layout {
  const out: Layout = { boxes: [], edges: [], frames: [], w: 0, h: 0 };
  keys = 0;
  if (!items.length) return out;
  const whole = stack(items);
  out.w = whole.w + 16;
  out.h = whole.h + 32;
  whole.paint(out, 8, 18, []);
  return out;
}

const widthOf = (label: string, text: string, most: number): number =>
  Math.min(most, Math.max(104, Math.ceil((label.length + (text ? text.length + 2 : 0)) * CHAR) + 34));

function stack(items: Item[], isArm = false): Piece {
  const pieces = items.map((item) => piece(item, isArm));
  const axis = Math.max(...pieces.map((one) => one.axis));
  const w = axis + Math.max(...pieces.map((one) => one.w - one.axis));
  const h = pieces.reduce((sum, one) => sum + one.h, 0) + GAP * (pieces.length - 1);
  return {
    w, h, axis,
    paint(out, x, y, from) {
      let ends = from;
      for (const one of pieces) {
        ends = one.paint(out, x + axis - one.axis, y, ends);
        y += one.h + GAP;
      }
      return ends;
    },
  };
}

const FORKS = new Set(["parallel", "branch", "choose", "if", "try", "gather", "race"]);

function piece(item: Item, isArm: boolean): Piece {
  if (FORKS.has(item.kind) && item.arms.length) return fork(item);
  const inside = item.arms.flatMap((arm) => arm.items);
  if (!inside.length) return box(item, isArm);
  return framed(item, stack(inside));
}

function box(item: Item, isArm: boolean): Piece {
  const sub = subOf(item);
  const strip = (item.calls?.length ?? 0) > 1 || item.kind === "foreach" || item.kind === "loop" ? 52 : 0;
  const w = widthOf(item.label, strip ? "" : sub, isArm ? 190 : 250) + Math.max(strip, strip && sub.length * 5.8);
  return {
    w, h: HIGH, axis: w / 2,
    paint(out, x, y, from) {
      const key = `n${++keys}`;
      out.boxes.push({ key, kind: item.kind, label: item.label, text: sub, place: item.place, calls: item.calls, x, y, w, arm: isArm });
      join(out, from, x + w / 2, y, [key], item.lift);
      return [{ x: x + w / 2, y: y + HIGH, keys: [key] }];
    },
  };
}

const subOf = (item: Item): string => {
  const short = item.text.length > 22 ? `${item.text.slice(0, 21)}…` : item.text;
  return { map: "map", sleep: short, event: "event", child: "run ↗", loop: item.label === "loop" ? short : "" }[item.kind] ?? short;
};

/** Something with a name around what is in it. */
function framed(item: Item, inner: Piece): Piece {
  const isNamed = item.label !== "" && item.label !== item.kind;
  const label = isNamed ? item.label : "";
  const head = isNamed || item.calls ? box({ ...item, label: label || item.kind, arms: [] }, false) : null;
  const caption = head ? "" : `${item.kind}${item.text ? ` ${item.text}` : ""}`;
  const top = head ? HIGH / 2 : 12;
  const least = caption.length * 6 + 24;
  const w = Math.max(inner.w, head?.w ?? 0, least) + 2 * PAD;
  const axis = PAD + (w - 2 * PAD - inner.w) / 2 + inner.axis;
  const h = (head ? HIGH + GAP : 22) + inner.h + PAD;
  return {
    w, h, axis,
    paint(out, x, y, from) {
      out.frames.push({ x, y: y + (head ? top : 0), w, h: h - (head ? top : 0), label: caption });
      let ends = from;
      if (head) ends = head.paint(out, x + axis - head.axis, y, ends);
      const at = head ? y + HIGH + GAP : y + 22;
      return inner.paint(out, x + axis - inner.axis, at, ends);
    },
  };
}

function fork(item: Item): Piece {
  const hasTexts = item.arms.some((arm) => arm.text);
  const lifted = (items: Item[]): Item[] => (hasTexts ? items.map((one, at) => (at ? one : { ...one, lift: 12 })) : items);
  const arms = item.arms.map((arm) => ({ text: arm.text, piece: stack(lifted(arm.items), true) }));
  const widths = arms.map((arm) => arm.piece.w);
  const inner = widths.reduce((sum, one) => sum + one, 0) + ARMS * (arms.length - 1);
  const w = inner + 2 * PAD;
  const top = PAD + (hasTexts ? 12 : 0);
  const tall = Math.max(...arms.map((arm) => arm.piece.h));
  const h = top + tall + PAD;
  return {
    w, h, axis: w / 2,
    paint(out, x, y, from) {
      out.frames.push({ x, y, w, h, label: item.kind === "parallel" || item.kind === "gather" || item.kind === "race" ? item.text : "" });
      const ends: End[] = [];
      let at = x + PAD;
      for (const [index, arm] of arms.entries()) {
        if (arm.text) out.frames.push({ x: at, y: y + 3, w: widths[index]!, h: 0, label: arm.text });
        ends.push(...arm.piece.paint(out, at, y + top, from));
        at += widths[index]! + ARMS;
      }
      return ends;
    },
  };
}

function join(out: Layout, from: End[], x: number, y: number, to: string[], lift = 0): void {
  for (const end of from) out.edges.push({ path: bend(end, x, y, lift), from: end.keys, to });
}

function bend(end: End, x: number, y: number, lift: number): string {
  if (Math.abs(end.x - x) < 1) return `M${end.x} ${end.y}V${y}`;
  const level = y - lift - GAP / 2 > end.y ? y - lift - GAP / 2 : (end.y + y) / 2;
  const r = Math.min(6, Math.abs(x - end.x) / 2, Math.max(0, level - end.y), Math.max(0, y - level));
  const s = Math.sign(x - end.x) * r;
  return `M${end.x} ${end.y}V${level - r}q0 ${r} ${s} ${r}H${x - s}q${s} 0 ${s} ${r}V${y}`;
}
