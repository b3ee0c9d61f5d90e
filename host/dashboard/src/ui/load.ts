/** What a page asks the server for: loaded when it opens, and again as often as it says. */

import { useEffect, useState } from "preact/hooks";
import { ask, Problem, textOf } from "../api/client";

export interface Loaded<T> {
  value: T | null;
  /** Why it is not there. */
  problem: string;
  reload: () => void;
}

/** `path` null: nothing is asked. With `everyMs` it is asked again while the page is seen; a server that is away is waited for.
 *
 * `isOfAll`: of all tenants that are reached.
 */
export function useLoad<T>(path: string | null, everyMs = 0, isOfAll = false): Loaded<T> {
  const [value, setValue] = useState<T | null>(null);
  const [problem, setProblem] = useState("");
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (path === null) return;
    let isOver = false;
    let timer = 0;
    const load = async (): Promise<void> => {
      let again = everyMs;
      const begun = performance.now();
      try {
        const found = await ask<T>(path, { isOfAll });
        again &&= Math.max(again, 10 * (performance.now() - begun)); // what costs the server much is asked for seldom
        if (isOver) return;
        setValue(found);
        setProblem("");
      } catch (error) {
        if (isOver) return;
        if (error instanceof Problem && error.status === 0) again = 1500;
        setProblem(textOf(error));
      }
      if (again) timer = window.setTimeout(load, document.visibilityState === "visible" ? again : 5000);
    };
    void load();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [path, round]);
  useEffect(() => setValue(null), [path]);
  return { value, problem, reload: () => setRound((before) => before + 1) };
}
