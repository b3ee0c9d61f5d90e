/** The graph of code that somebody wrote: its calls as they happened, from their paths, scopes and order. No DOM.
 *
 * Calls that were under way together stand side by side; the same one again and again is folded to one box, and so is a body of
 * several that repeats. Nothing is guessed of calls that have not happened.
 */

import type { Log } from "./fold";
import type { Call } from "./fold-words";

export interface Happened {
  kind: "call" | "loop" | "together" | "scope";
  label: string;
  /** Indexes of the calls in it. */
  calls: number[];
  items: Happened[];
  /** How often it happened, of a loop. */
  times: number;
  /** Several of it were under way together. */
  isWide?: boolean;
}

const PERIOD_MAX = 6;
const TIMEOUT = "/timeout";

export function happened(log: Log): Happened[] {
  const calls = log.calls.filter((one) => !(one.kind === "timer" && one.path.endsWith(TIMEOUT)));
  return sequence(calls, 0);
}

const segments = new Map<string, string[]>();
function segmentsOf(path: string): string[] {
  let found = segments.get(path);
  if (!found) {
    found = path.split("/");
    if (segments.size < 50_000) segments.set(path, found);
  }
  return found;
}

const bare = (segment: string): string => segment.replace(/#\d+$/, "");

function sequence(calls: Call[], depth: number): Happened[] {
  const groups: Happened[] = [];
  for (const wave of joined(waves(calls), depth)) append(groups, together(wave, depth));
  return groups;
}

/** Calls that were under way together, in turn. */
function waves(calls: Call[]): Call[][] {
  const found: Call[][] = [];
  for (let at = 0; at < calls.length; ) {
    let end = at;
    let until = 0; // the record up to which something of this wave is open
    do {
      until = Math.max(until, calls[end]!.closed || Infinity);
      end += 1;
    } while (end < calls.length && calls[end]!.seqs[0]! < until);
    found.push(calls.slice(at, end));
    at = end;
  }
  return found;
}

/** What follows each other in one scope is one thing. */
function joined(found: Call[][], depth: number): Call[][] {
  const out: Call[][] = [];
  let last: string | null = null;
  for (const wave of found) {
    const scopes = new Set(wave.map((one) => scopeOf(one, depth)));
    const scope = scopes.size === 1 ? [...scopes][0]! : null;
    if (scope !== null && scope === last) out.at(-1)!.push(...wave);
    else out.push([...wave]);
    last = scope;
  }
  return out;
}

/** The scope in which a call stands at this depth; null: none. */
const scopeOf = (call: Call, depth: number): string | null => {
  const parts = segmentsOf(call.path);
  return parts.length > depth + 1 ? bare(parts[depth]!) : null;
};

/** What was under way at one time: by name, or by the scope it stands in. */
function together(calls: Call[], depth: number): Happened {
  const arms = new Map<string, Call[]>();
  for (const call of calls) {
    const scope = scopeOf(call, depth);
    const key = scope !== null ? `${scope}/` : bare(segmentsOf(call.path)[depth] ?? call.path);
    const arm = arms.get(key);
    if (arm) arm.push(call);
    else arms.set(key, [call]);
  }
  const items = [...arms].map(([key, inside]): Happened => {
    const indexes = inside.map((one) => one.index);
    if (!key.endsWith("/")) return { kind: "call", label: key, calls: indexes, items: [], times: 1, isWide: indexes.length > 1 };
    return { kind: "scope", label: key.slice(0, -1), calls: indexes, items: sequence(inside, depth + 1), times: 1 };
  });
  return items.length === 1 ? items[0]! : { kind: "together", label: "", calls: calls.map((one) => one.index), items, times: 1 };
}

/** Add it, folded with what it repeats. */
function append(groups: Happened[], next: Happened): void {
  groups.push(next);
  for (let period = 1; period <= PERIOD_MAX; period++) {
    const last = groups.length - period;
    if (last < 1) return;
    const tail = groups.slice(last);
    const before = groups[last - 1]!;
    if (period > 1 && before.kind === "loop" && before.items.length === period && areSame(before.items, tail)) {
      groups.length = last;
      merge(before.items, tail);
      before.calls.push(...tail.flatMap((one) => one.calls));
      before.times += 1;
      return;
    }
    if (last < period) continue;
    const same = groups.slice(last - period, last);
    if (!areSame(same, tail)) continue;
    groups.length = last;
    merge(same, tail);
    if (period === 1) same[0]!.times += 1;
    else groups.splice(last - period, period, { kind: "loop", label: "", calls: same.flatMap((one) => one.calls), items: same, times: 2 });
    return;
  }
}

const keyOf = (one: Happened): string => `${one.kind === "call" ? (one.isWide ? "*" : "") : one.kind}(${one.label}${one.items.map(keyOf).join(",")})`;
const areSame = (a: Happened[], b: Happened[]): boolean => a.every((one, at) => keyOf(one) === keyOf(b[at]!));

function merge(into: Happened[], more: Happened[]): void {
  into.forEach((one, at) => {
    const other = more[at]!;
    one.calls.push(...other.calls);
    merge(one.items, other.items);
  });
}
