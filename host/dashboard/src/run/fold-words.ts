/** What the fold speaks of: kinds of records, statuses, calls, blocks and places. */

export type Facts = Record<string, unknown>;
/** seq, kind, time (ms since 1970), call, path, facts: as `GET /v1/runs/ID/heads` gives them. */
export type Head = [number, string, number, number | null, string | null, Facts | null];

/** How a call stands; the last three have ended. */
export const STATUSES = ["queued", "running", "away", "retry", "suspended", "waiting", "child", "success", "failed", "canceled"] as const;
export type Status = (typeof STATUSES)[number];
export const QUEUED = 0, RUNNING = 1, AWAY = 2, RETRY = 3, SUSPENDED = 4, WAITING = 5, CHILD = 6, SUCCESS = 7, FAILED = 8, CANCELED = 9;
export const WIDTH = STATUSES.length;
export const OPEN = 7; // statuses before this one are open
export const ABSENT = 255;

export const PHASES = ["pending", "running", "paused", "cleaning", "canceling", "success", "failed", "canceled", "continued"] as const;

export type Kind = "step" | "timer" | "hook" | "child";
export const BEGINS: Record<string, [Kind, number, string]> = {
  step_called: ["step", QUEUED, "queue"],
  timer_set: ["timer", WAITING, "waiting"],
  hook_opened: ["hook", WAITING, "waiting"],
  child_started: ["child", CHILD, "child"],
};
export const ENDS: Record<string, number> = {
  step_completed: SUCCESS, step_bailed: SUCCESS, step_failed: FAILED, timer_fired: SUCCESS,
  hook_received: SUCCESS, hook_failed: FAILED, child_ended: SUCCESS, call_abandoned: CANCELED,
};
export const MOVES: Record<string, number> = {
  attempt_started: RUNNING, attempt_sent: AWAY, attempt_failed: RETRY, step_suspended: SUSPENDED, step_resumed: QUEUED,
};
export const OVER: Record<string, string> = {
  run_completed: "success", run_failed: "failed", run_stopped: "failed", run_canceled: "canceled",
  run_canceled_by_code: "canceled", run_continued_as_new: "continued",
};
export const TURNS: Record<string, string> = {
  run_started: "running", run_continued: "running", run_paused: "paused", cancel_requested: "canceling", cancel_delivered: "cleaning",
};

export interface Failure {
  name: string;
  message: string;
}

/** `queue`, `work`, `failed`, `lost`, `retry`, `suspended`, `waiting` or `child`; from and to, which is null while it goes on. */
export type Segment = [string, number, number | null];

/** A call as it stood at a record. */
export interface CallState {
  call: number;
  kind: Kind;
  name: string;
  path: string;
  seq: number;
  status: Status;
  called_at: number;
  since: number;
  ended_at: number | null;
  ended_seq: number | null;
  attempt: number;
  due: number | null;
  error: Failure | null;
  run: string | null;
  segments: Segment[];
}

/** A call, whatever became of it. `index` is its place in `Log.calls`. */
export interface Call {
  index: number;
  call: number;
  kind: Kind;
  name: string;
  path: string;
  /** The index of its place. */
  place: number;
  /** Of the records about it, in their order. */
  seqs: number[];
  run: string | null;
  /** It has a time by which it moves by itself. */
  isTimed: boolean;
  /** The record that ended it, which may be one of the block around it; 0 while it is open. */
  closed: number;
}

export interface Block {
  index: number;
  path: string;
  place: number;
  /** It is all that stands at its place: no turn of a loop, no item of a list. */
  isWhole: boolean;
  seq: number;
  closed: number;
  status: number;
  error: Failure | null;
}

export interface Place {
  index: number;
  path: string;
  /** Those around it, the outermost first. */
  above: number[];
  calls: number[];
  blocks: number[];
}

const TURN = /\[\d+\]|#\d+(?=\/|$)/g;
/** Without turns of loops, items of lists and numbers of repeated calls. */
export const placeOf = (path: string): string => (path.includes("[") || path.includes("#") ? path.replace(TURN, "") : path);
export const isUnder = (path: string, place: string): boolean =>
  path.startsWith(place) && (path.length === place.length || path[place.length] === "/" || path[place.length] === "[");
