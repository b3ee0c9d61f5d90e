/** The search box: `status:failed workflow:fulfil tag:customer=acme age:2h 503`, in the words of the API. */

import { STATUSES, type Where } from "../api/models";

export interface Sought {
  where: Where;
  text: string;
  /** What cannot be meant, and why. */
  mistakes: string[];
}

export const FIELDS: Record<string, string> = {
  status: "how the run stands",
  workflow: "the workflow's id",
  error: "failed with an error of this name",
  step: "failed at this step",
  tag: "NAME=VALUE",
  version: "the version or code it runs",
  age: "has stood as it stands so long: 10m, 2h, 3d",
  since: "moved after: 2h (ago), or an RFC 3339 instant",
  until: "moved before",
};
const UNITS: Record<string, number> = { s: 1, m: 60, min: 60, h: 3600, d: 86_400, w: 604_800 };

/** The words of a search; `"…"` keeps blanks together. */
export function words(text: string): string[] {
  return [...text.matchAll(/(?:[^\s"]+|"[^"]*"?)+/g)].map((found) => found[0]);
}

const bare = (text: string): string => text.replaceAll('"', "");

export function parse(text: string): Sought {
  const where: Where = {};
  const mistakes: string[] = [];
  const rest: string[] = [];
  for (const word of words(text)) {
    const [, name = "", value = ""] = /^([a-z]+):([^]*)$/.exec(word) ?? [];
    if (!Object.hasOwn(FIELDS, name)) rest.push(bare(word));
    else if (value) take(where, name, bare(value), mistakes);
  }
  return { where, text: rest.join(" "), mistakes };
}

function take(where: Where, name: string, value: string, mistakes: string[]): void {
  if (name === "status") {
    if ((STATUSES as readonly string[]).includes(value)) where.status = value;
    else mistakes.push(`there is no status ${value}: one of ${STATUSES.join(", ")}`);
  } else if (name === "tag") {
    const at = value.indexOf("=");
    if (at > 0) where.tags = { ...where.tags, [value.slice(0, at)]: value.slice(at + 1) };
    else mistakes.push("a tag is NAME=VALUE");
  } else if (name === "age") {
    const seconds = secondsOf(value);
    if (seconds === null) mistakes.push(`an age is a number and a unit, like 10m, 2h or 3d, not ${value}`);
    else where.age = seconds;
  } else if (name === "since" || name === "until") {
    const at = instantOf(value);
    if (at === null) mistakes.push(`${name} is how long ago, like 2h, or an instant like 2026-11-28T18:00Z, not ${value}`);
    else where[name] = at;
  } else where[name as "workflow" | "error" | "step" | "version"] = value;
}

function secondsOf(text: string): number | null {
  const [, count, unit = "s"] = /^(\d+(?:\.\d+)?)([a-z]*)$/.exec(text) ?? [];
  const factor = UNITS[unit || "s"];
  return count === undefined || factor === undefined ? null : Number(count) * factor;
}

/** To the minute, so that the same search asks for the same page. */
function instantOf(text: string): string | null {
  const seconds = secondsOf(text);
  const at = seconds === null ? Date.parse(text) : Math.floor((Date.now() - seconds * 1000) / 60_000) * 60_000;
  return Number.isNaN(at) ? null : new Date(at).toISOString();
}

/** The search with one field set, or without it. */
export function withField(text: string, name: string, value: string | null): string {
  const others = words(text).filter((word) => !word.startsWith(`${name}:`));
  return [...(value === null ? [] : [`${name}:${quoted(value)}`]), ...others].join(" ");
}

export const quoted = (value: string): string => (/[\s"]/.test(value) ? `"${bare(value)}"` : value);

/** The parameters of `GET /v1/runs`. */
export function parameters({ where, text }: Sought): Record<string, string | number | string[] | undefined> {
  const { tags, ...plain } = where;
  return { ...plain, tag: Object.entries(tags ?? {}).map(([name, value]) => `${name}=${value}`), text: text || undefined };
}

/** Whether a run is one of those that are sought; null: only the server can tell. */
export function matches({ where, text }: Sought, run: { status: string; workflow: string }): boolean | null {
  if (where.status !== undefined && where.status !== run.status) return false;
  if (where.workflow !== undefined && where.workflow !== run.workflow) return false;
  const rest = { ...where };
  delete rest.status;
  delete rest.workflow;
  return Object.keys(rest).length || text ? null : true;
}

export interface Completion {
  /** What the word becomes. */
  word: string;
  label: string;
  about: string;
}

/** What the word at the caret could become. `values` has what is known of the fields whose values are the tenant's own. */
export function completions(word: string, values: Record<string, readonly string[]>): Completion[] {
  const [, name, typed = ""] = /^([a-z]+):([^]*)$/.exec(word) ?? [];
  if (name === undefined || !Object.hasOwn(FIELDS, name)) {
    const fitting = Object.entries(FIELDS).filter(([field]) => field.startsWith(word.toLowerCase()));
    return fitting.map(([field, about]) => ({ word: `${field}:`, label: `${field}:`, about }));
  }
  const known = name === "status" ? STATUSES : name === "age" || name === "since" ? ["10m", "1h", "1d", "7d"] : (values[name] ?? []);
  const needle = bare(typed).toLowerCase();
  return known
    .filter((one) => one.toLowerCase().includes(needle) && one !== bare(typed))
    .slice(0, 12)
    .map((one) => ({ word: `${name}:${quoted(one)} `, label: one, about: FIELDS[name]! }));
}
