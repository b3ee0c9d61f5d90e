/** Server-sent events by `fetch`, which sends the headers of the API; after a break it goes on with the last id. */

import { signal } from "../signals";
import { Problem, send, tenant } from "./client";

export interface Event {
  id: string | null;
  event: string;
  data: string;
}

/** How many streams of this page wait to be connected again. */
export const broken = signal(0);

const RETRY_MS = [300, 1000, 2000, 5000];
const SILENT_MS = 40_000; // the server pings each 15 s

export interface Following {
  close(): void;
}

/** Follow a stream until it is closed here, or `onEvent` returns false. `after`: the id that is known already.
 *
 * `onBreak` is called before each new connection, `onRefusal` when the server does not let this page follow.
 */
export function follow(
  path: string,
  onEvent: (event: Event) => boolean | void,
  options: { after?: string | null; onBreak?: () => void; onRefusal?: (problem: Problem) => void } = {},
): Following {
  const controller = new AbortController();
  void run(path, onEvent, options, controller.signal);
  return { close: () => controller.abort() };
}

async function run(
  path: string,
  onEvent: (event: Event) => boolean | void,
  options: { after?: string | null; onBreak?: () => void; onRefusal?: (problem: Problem) => void },
  over: AbortSignal,
): Promise<void> {
  let last = options.after ?? null;
  let tries = 0;
  let isBroken = false;
  const mend = (): void => {
    if (isBroken) broken.value -= 1;
    isBroken = false;
  };
  const whose = tenant.peek();
  while (!over.aborted && tenant.peek() === whose) {
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (last !== null) headers["Last-Event-ID"] = last;
      const response = await send(path, { headers, signal: over });
      mend();
      if (response.status === 204) return; // there is nothing more, and nothing will come
      for await (const event of events(response, over)) {
        tries = 0;
        if (event.id !== null) last = event.id;
        if (onEvent(event) === false) return mend();
      }
    } catch (error) {
      if (over.aborted) break;
      if (error instanceof Problem && error.status >= 400 && error.status < 500 && error.status !== 429) {
        mend();
        options.onRefusal?.(error);
        return;
      }
    }
    if (over.aborted) break;
    if (!isBroken) {
      isBroken = true;
      broken.value += 1;
    }
    await pause(RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)] ?? 5000, over);
    options.onBreak?.();
  }
  mend();
}

const pause = (ms: number, over: AbortSignal): Promise<void> =>
  new Promise((done) => {
    const timer = setTimeout(done, ms);
    over.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
  });

async function* events(response: Response, over: AbortSignal): AsyncGenerator<Event> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  const stop = (): void => void reader.cancel().catch(() => undefined);
  over.addEventListener("abort", stop, { once: true });
  let rest = "";
  let silent = setTimeout(stop, SILENT_MS);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(silent);
      silent = setTimeout(stop, SILENT_MS);
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const event = parse(block);
        if (event !== null) yield event;
      }
    }
  } finally {
    clearTimeout(silent);
    over.removeEventListener("abort", stop);
    stop();
  }
}

function parse(block: string): Event | null {
  const found: Event = { id: null, event: "message", data: "" };
  for (const [, name, value = ""] of block.matchAll(/^(id|event|data): ?(.*)$/gm)) found[name as "data"] = (name === "data" && found.data ? `${found.data}\n` : "") + value;
  return found.data ? found : null;
}
