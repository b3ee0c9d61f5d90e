/** The time now, by the server's clock: it ticks once a second while the page is seen. */

import { signal } from "./signals";
import { clockSkew } from "./api/client";

export const now = signal(Date.now());

const tick = (): void => {
  if (document.visibilityState === "visible") now.value = Date.now() + clockSkew.value;
};
setInterval(tick, 1000);
addEventListener("visibilitychange", tick);
clockSkew.subscribe(tick);

/** `840 ms`, `1.36 s`, `14 m 12 s`, `3 h 5 m`, `12 d`. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return "–";
  if (ms < 0) return `−${duration(-ms)}`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const s = ms / 1000;
  if (s < 9.995) return `${s.toFixed(2)} s`;
  if (s < 59.95) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < 3600) return both(Math.floor(whole / 60), "m", whole % 60, "s");
  if (whole < 86_400) return both(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "m");
  return both(Math.floor(whole / 86_400), "d", Math.floor((whole % 86_400) / 3600), "h");
}

const both = (a: number, unit: string, b: number, smaller: string): string =>
  b && a < 100 ? `${a} ${unit} ${b} ${smaller}` : `${a} ${unit}`;

/** In whole units: `14 min`, for what is looked at and not measured. */
export function rough(ms: number): string {
  const s = Math.max(0, ms) / 1000;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 172_800) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86_400)} d`;
}

/** In a sentence: `14 minutes ago`, `in 3 hours`. */
export function fromNow(at: number, present: number): string {
  const s = Math.round(Math.abs(present - at) / 1000);
  const [each, unit]: [number, Intl.RelativeTimeFormatUnit] = s < 60 ? [1, "second"] : s < 5400 ? [60, "minute"] : s < 172_800 ? [3600, "hour"] : [86_400, "day"];
  return s < 1 ? "just now" : DISTANCE.format(Math.sign(at - present) * Math.round(s / each), unit);
}

const DISTANCE = new Intl.RelativeTimeFormat("en");

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const YEAR = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** `18:21:12` today; `28 Nov, 18:21` of another day; with the year of another year. */
export function clock(at: number, present: number = now.peek()): string {
  const then = new Date(at);
  const today = new Date(present);
  const time = TIME.format(then);
  if (then.toDateString() === today.toDateString()) return time;
  return `${(then.getFullYear() === today.getFullYear() ? DAY : YEAR).format(then)}, ${time.slice(0, 5)}`;
}

/** `1.4 KB`. */
export function size(bytes: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(value < 9.95 ? 1 : 0)} ${units[unit]}`;
}

export const count = (value: number): string => value.toLocaleString("en");
export const plural = (value: number, one: string, many = `${one}s`): string => `${count(value)} ${value === 1 ? one : many}`;
