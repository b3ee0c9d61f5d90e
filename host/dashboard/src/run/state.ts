/** The whole state of a run at a record, as data. No page shows it: it is what the fold is compared with Python's by. */

import type { Log } from "./fold.ts";
import { STATUSES, type Block } from "./fold-words.ts";

/** As `RunFold.state` of Python says it. Moves the cursor. */
export function stateOf(log: Log, seq: number): Record<string, unknown> {
  log.to(seq);
  const nodes: Record<string, string> = {};
  for (const place of log.places) {
    const status = log.placeStatus(place.index);
    if (status !== "idle") nodes[place.path] = status;
  }
  return {
    seq: log.at, time: log.timeOf(log.at), phase: log.phaseOf(log.at), status: log.runStatus(), busy_ms: log.busyOf(log.at),
    error: log.over && log.over[0] <= seq ? log.over[1] : null, tags: log.tagsAt(seq), deadline: log.deadlineAt(seq),
    calls: log.calls.map((one) => log.callAt(one.index, seq)).filter((one) => one !== null),
    blocks: blocksAt(log, seq),
    nodes,
  };
}

function blocksAt(log: Log, seq: number): unknown[] {
  const newest = new Map<string, Block>(); // a path that was entered again is the newest one
  for (const block of log.blocks) if (block.seq <= seq) newest.set(block.path, block);
  return [...newest.values()].map((block) => {
    const isOver = block.closed > 0 && block.closed <= seq;
    const status = isOver ? STATUSES[block.status] : "running";
    return { path: block.path, seq: block.seq, status, since: log.timeOf(block.seq), to: isOver ? log.timeOf(block.closed) : null, error: isOver ? block.error : null };
  });
}
