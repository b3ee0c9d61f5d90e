/** What records and their kinds are called on the page. */

import type { Log } from "./fold";

const EVENTS = new Set(["run_started", "step_completed", "step_failed", "timer_fired", "step_suspended", "step_resumed", "step_bailed", "hook_received", "hook_failed", "child_ended", "cancel_requested", "cancel_delivered", "run_upgraded"]);
const COMMANDS = new Set(["step_called", "timer_set", "entered", "left", "log_line", "call_abandoned", "run_completed", "run_failed", "hook_opened", "patched", "child_started", "run_canceled_by_code", "tagged", "deadline_set", "run_continued_as_new"]);

export type Direction = "in" | "out" | "note";
export const directionOf = (kind: string): Direction => (EVENTS.has(kind) ? "in" : COMMANDS.has(kind) ? "out" : "note");
export const SIGNS: Record<Direction, string> = { in: "→", out: "←", note: "·" };

export type Tone = "in" | "out" | "note" | "bad" | "sus" | "wait";
export function toneOf(kind: string, hasError: boolean): Tone {
  if (kind === "step_suspended") return "sus";
  if (kind === "timer_set" || kind === "hook_opened") return "wait";
  if (hasError || kind === "attempt_failed" || kind === "run_stopped" || kind === "run_failed") return "bad";
  return directionOf(kind);
}
export const TALL: Record<Tone, number> = { in: 15, out: 10, note: 5, bad: 21, sus: 21, wait: 12 };

export const kindWords = (kind: string): string => kind.replaceAll("_", " ");

export const isLogKind = (kind: string): boolean => kind === "log_line" || kind === "step_logged" || kind === "step_wrote";
export const isBad = (log: Log, seq: number): boolean => toneOf(log.kindOf(seq), log.factsOf(seq).error !== undefined) === "bad";

/** `+0.437` of a run of seconds; in a longer one what is left of the larger unit says more. */
export function since(ms: number): string {
  if (ms < 10) return "0";
  if (ms < 60_000) return `+${(ms / 1000).toFixed(3)}`;
  if (ms < 3_600_000) return `+${Math.floor(ms / 60_000)}m${String(Math.floor((ms % 60_000) / 1000)).padStart(2, "0")}`;
  if (ms < 172_800_000) return `+${Math.floor(ms / 3_600_000)}h${String(Math.floor((ms % 3_600_000) / 60_000)).padStart(2, "0")}`;
  return `+${(ms / 86_400_000).toFixed(1)}d`;
}

/** The word for how something stands, as the pills have it. */
export const pillOf = (status: string): string => ({ queued: "pending", away: "running", retry: "waiting", child: "waiting" })[status] ?? status;
