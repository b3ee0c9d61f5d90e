/** The graph of code that somebody wrote: its calls as they happened, from their paths, scopes and order. No DOM.
 *
 * Calls that were under way together stand side by side; the same one again and again is folded to one box, and so is a body of
 * several that repeats. Nothing is guessed of calls that have not happened.
 */

import type { Call, Log } from "./fold";

export interface Happened {
  kind: "call" | "loop" | "together" | "scope";
  label: string;
  /** Indexes of the calls in it. */
  calls: number[];
  items: Happened[];
  /** How often it happened, of a loop. */
  times: number;
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
  for (let at = 0; at < calls.length; ) {
    let end = at;
    let until = 0; // the record up to which something of this group is open
    do {
      const closed = calls[end]!.closed || Infinity;
      if (closed > until) until = closed;
      end += 1;
    } while (end < calls.length && calls[end]!.seqs[0]! < until);
    append(groups, together(calls.slice(at, end), depth));
    at = end;
  }
  return groups;
}

/** What was under way at one time: by name, or by the scope it stands in. */
function together(calls: Call[], depth: number): Happened {
  const arms = new Map<string, Call[]>();
  for (const call of calls) {
    const parts = segmentsOf(call.path);
    const key = parts.length > depth + 1 ? `${bare(parts[depth]!)}/` : bare(parts[depth] ?? call.path);
    const arm = arms.get(key);
    if (arm) arm.push(call);
    else arms.set(key, [call]);
  }
  const items = [...arms].map(([key, inside]): Happened => {
    const indexes = inside.map((one) => one.index);
    if (!key.endsWith("/")) return { kind: "call", label: key, calls: indexes, items: [], times: 1 };
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

const keyOf = (one: Happened): string => `${one.kind === "call" ? "" : one.kind}(${one.label}${one.items.map(keyOf).join(",")})`;
const areSame = (a: Happened[], b: Happened[]): boolean => a.every((one, at) => keyOf(one) === keyOf(b[at]!));

function merge(into: Happened[], more: Happened[]): void {
  into.forEach((one, at) => {
    const other = more[at]!;
    one.calls.push(...other.calls);
    merge(one.items, other.items);
  });
}
