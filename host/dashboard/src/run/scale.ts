/** Time as pixels: to scale while something is at work, and what was only waited for folded to a band. No DOM. */

import type { Log } from "./fold";

export interface Fold {
  from: number;
  to: number;
  x: number;
  w: number;
  tone: "sus" | "wait" | "queue";
}
export interface Scale {
  folds: Fold[];
  /** The pixel of an instant. */
  x: (time: number) => number;
  /** Round instants to write at the axis. */
  ticks: { time: number; x: number }[];
  from: number;
  to: number;
  width: number;
}

const FOLDS_MAX = 30;
const LEAST_MS = 250;
const NICE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 3e4, 6e4, 12e4, 3e5, 6e5, 18e5, 36e5, 72e5, 216e5, 864e5, 6048e5];

/** `now`: the time now, of a run that has not ended; else null. */
export function scaleOf(log: Log, width: number, now: number | null): Scale {
  const from = log.timeOf(1);
  const end = log.timeOf(log.count);
  const to = Math.max(end, now ?? end, from + 1);
  const idle = idleOf(log, now);
  const active = Math.max(1, to - from - idle.reduce((sum, one) => sum + one.to - one.from, 0));
  const least = Math.max(LEAST_MS, active * 0.08);
  const folded = idle.filter((one) => one.to - one.from > least).sort((a, b) => b.to - b.from - (a.to - a.from)).slice(0, FOLDS_MAX);
  folded.sort((a, b) => a.from - b.from);
  const each = folded.length ? Math.max(8, Math.min(84, (0.42 * width) / folded.length)) : 0;
  const scaled = Math.max(1, to - from - folded.reduce((sum, one) => sum + one.to - one.from, 0));
  const perMs = Math.max(1, width - each * folded.length) / scaled;
  const stops: { time: number; x: number; isFold: boolean }[] = [];
  const folds: Fold[] = [];
  let x = 0;
  let time = from;
  for (const one of folded) {
    stops.push({ time, x, isFold: false });
    x += (one.from - time) * perMs;
    stops.push({ time: one.from, x, isFold: true });
    folds.push({ from: one.from, to: one.to, x, w: each, tone: one.tone });
    x += each;
    time = one.to;
  }
  stops.push({ time, x, isFold: false }, { time: to, x: width, isFold: false });
  const place = (at: number): number => {
    if (at <= from) return 0;
    if (at >= to) return width;
    let low = 0;
    let high = stops.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (stops[middle]!.time <= at) low = middle;
      else high = middle - 1;
    }
    const a = stops[low]!;
    const b = stops[Math.min(low + 1, stops.length - 1)]!;
    return b.time === a.time ? b.x : a.x + ((at - a.time) / (b.time - a.time)) * (b.x - a.x);
  };
  return { folds, x: place, ticks: ticksOf(from, to, folds, perMs, place), from, to, width };
}

interface Idle {
  from: number;
  to: number;
  tone: Fold["tone"];
}

/** When nothing was queued or at work. */
function idleOf(log: Log, now: number | null): Idle[] {
  const found: Idle[] = [];
  for (let seq = 1; seq <= log.count; seq++) {
    const from = log.timeOf(seq);
    const isLast = seq === log.count;
    if (isLast && now === null) break;
    const to = isLast ? now! : log.timeOf(seq + 1);
    const isIdle = isLast ? !log.isBusy : log.busyOf(seq + 1) === log.busyOf(seq);
    if (!isIdle || to <= from) continue;
    const last = found.at(-1);
    if (last && last.to === from) last.to = to;
    else found.push({ from, to, tone: toneAt(log, seq) });
  }
  return found;
}

function toneAt(log: Log, seq: number): Fold["tone"] {
  for (let at = seq; at > Math.max(0, seq - 8); at--) {
    const kind = log.kindOf(at);
    if (kind === "step_suspended") return "sus";
    if (kind === "timer_set" || kind === "hook_opened" || kind === "child_started" || kind === "attempt_failed") return "wait";
  }
  return "queue";
}

function ticksOf(from: number, to: number, folds: Fold[], perMs: number, x: (time: number) => number): Scale["ticks"] {
  const step = NICE.find((one) => one * perMs >= 84) ?? 6048e5;
  const ticks: Scale["ticks"] = [{ time: 0, x: 0 }];
  for (let time = step; time < to - from && ticks.length < 40; time += step) {
    const fold = folds.find((one) => from + time > one.from && from + time < one.to);
    if (fold) {
      time = Math.floor((fold.to - from) / step) * step;
      continue;
    }
    const at = x(from + time);
    if (at - ticks.at(-1)!.x >= 60 && !folds.some((one) => at > one.x - 34 && at < one.x + one.w + 34)) ticks.push({ time, x: at });
  }
  return ticks;
}
