/** The rows of the timeline: places of the code, and below them their calls where they are shown. No DOM. */

import type { Log } from "./fold";
import type { Place } from "./fold-words";

export interface Row {
  key: string;
  place: Place;
  /** The index of the one call of the row; null: it is of a place with all that is in it. */
  call: number | null;
  depth: number;
  /** How many calls and turns it has. */
  count: number;
  isFolded: boolean;
  label: string;
}

const SHOWN_MAX = 6; // calls of a place that are shown by themselves

/** `changed`: places whose rows the reader has opened or closed. */
export function rowsOf(log: Log, changed: ReadonlySet<number>): Row[] {
  const inside = new Map<number, Place[]>();
  for (const place of log.places) {
    const above = place.above.at(-1) ?? -1;
    if (!inside.has(above)) inside.set(above, []);
    inside.get(above)!.push(place);
  }
  const rows: Row[] = [];
  const add = (place: Place, depth: number): void => {
    const last = place.path.slice(place.path.lastIndexOf("/") + 1);
    if (last === "cloche:input" || last === "timeout") return;
    const within = (inside.get(place.index) ?? []).filter((one) => !/(^|\/)(cloche:input|timeout)$/.test(one.path));
    const turns = place.blocks.filter((index) => !log.blocks[index]!.isWhole).length;
    const count = Math.max(place.calls.length, turns);
    const isOne = place.calls.length === 1 && !within.length && !place.blocks.length;
    const has = within.length > 0 || place.calls.length > 1 || (place.calls.length === 1 && place.blocks.length > 0);
    const isOpen = changed.has(place.index) !== (place.calls.length <= SHOWN_MAX && within.length <= 40);
    rows.push({ key: `p${place.index}`, place, call: isOne ? place.calls[0]! : null, depth, count, isFolded: has && !isOpen, label: isOne ? log.calls[place.calls[0]!]!.path : place.path });
    if (!has || !isOpen) return;
    for (const one of within) add(one, depth + 1);
    if (!isOne) for (const call of place.calls) rows.push({ key: `c${call}`, place, call, depth: depth + 1, count: 1, isFolded: false, label: log.calls[call]!.path });
  };
  for (const place of inside.get(-1) ?? []) add(place, 0);
  return rows;
}
