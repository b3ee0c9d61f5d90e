/** What became of one call, record by record, and the stretches of time it has spent. */

import type { CallState, Facts } from "./fold-words.ts";

/** What goes on with a call that stays open. */
export function moveCall(state: CallState, kind: string, time: number, facts: Facts): void {
  const last = state.segments.at(-1)!;
  if (kind === "attempt_started" || kind === "attempt_sent") {
    begin(state, time, (facts.queued as number | undefined) ?? 0);
    Object.assign(state, { attempt: facts.attempt ?? 1, due: null, status: kind === "attempt_started" ? "running" : "away", since: time });
  } else if (kind === "attempt_queued" && last[0] === "work") {
    const ready = last[1] + (facts.queued as number);
    state.segments.splice(-1, 1, ["queue", last[1], ready], ["work", ready, null]);
  } else if (kind === "attempt_failed") {
    close(state, time, "failed");
    state.segments.push(["retry", time, null]);
    Object.assign(state, { status: "retry", since: time, error: facts.error, due: facts.due ?? null });
  } else if (kind === "step_suspended") {
    close(state, time);
    state.segments.push(["suspended", time, null]);
    Object.assign(state, { status: "suspended", since: time });
  } else if (kind === "step_resumed") {
    close(state, time);
    state.segments.push(["queue", time, null]);
    Object.assign(state, { status: "queued", since: time, attempt: 0, error: null });
  }
}

function begin(state: CallState, time: number, queued: number): void {
  const [what, since] = state.segments.at(-1)!;
  if (what === "retry" && queued) {
    const ready = Math.max(since, time - queued);
    state.segments.splice(-1, 1, ["retry", since, ready], ["queue", ready, time]);
  } else close(state, time, "lost"); // where it was at work, its process had ended
  state.segments.push(["work", time, null]);
}

/** The segment under way ends. One that took no time is none, except work. */
export function close(state: CallState, time: number, becomes?: string): void {
  const last = state.segments.at(-1)!;
  last[2] = Math.max(last[1], time);
  if (becomes !== undefined && last[0] === "work") last[0] = becomes;
  if ((last[0] === "queue" || last[0] === "retry") && last[1] === last[2]) state.segments.pop();
}
