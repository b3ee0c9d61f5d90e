/** A cursor over a list of a page, moved by keys. */

import { useEffect, useState } from "preact/hooks";
import { useKeys, type Key } from "../keys";

/** `J`, `K`, Enter over `count` things. Gives the index of the one that is chosen. */
export function useCursor(name: string, count: number, onOpen: (index: number) => void, more: (at: number) => Key[] = () => []): [number, (at: number) => void] {
  const [at, setAt] = useState(0);
  const cursor = Math.max(0, Math.min(at, count - 1));
  useKeys(name, [
    { keys: ["j", "ArrowDown"], label: "next", run: () => setAt(Math.min(count - 1, cursor + 1)) },
    { keys: ["k", "ArrowUp"], label: "the one before", run: () => setAt(Math.max(0, cursor - 1)) },
    { keys: ["Enter", "o"], label: "open", run: () => count > 0 && onOpen(cursor) },
    ...more(cursor),
  ]);
  useEffect(() => document.querySelector("tr.cur, li.cur")?.scrollIntoView({ block: "nearest" }), [cursor]);
  return [cursor, setAt];
}
