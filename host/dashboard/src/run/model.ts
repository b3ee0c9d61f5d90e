/** What the page of one run knows: its log, where the reader stands in it, and what the server says beside the log. */

import { signal } from "../signals";
import { ask, path, Problem, query } from "../api/client";
import { FINAL, type Json, type RunOut, type Usage, type Why } from "../api/models";
import { follow, type Following } from "../api/sse";
import { place, setQuery } from "../router";
import { CodeModel, type Shape } from "./code-model";
import type { Head } from "./fold-words";

export interface Relative {
  run_id: string;
  workflow: string | null;
  status: string | null;
  path: string | null;
  seq: number | null;
}
export interface Lineage {
  parent: Relative | null;
  retry_of: Relative | null;
  retried_as: Relative[];
  forked_from: Relative | null;
  forked_at: string | null;
  continues: Relative | null;
  continued_as: Relative | null;
  schedule: string | null;
  children: Relative[];
}
interface HeadsPage {
  heads: (Head | [...Head, string])[];
  next: number | null;
  history: number;
  records: number;
}

const TEXTS_MAX = 5000; // of a longer log the texts come with the rows that are seen
const PAGE = 5000;
const QUIET_MS = 250;
const ASKED_EACH_MS = 4000; // of a run that does not come to rest

export class RunModel extends CodeModel {
  /** How many records the server has said there are. */
  readonly total = signal(0);
  /** Places whose rows the reader has opened or closed in the timeline. */
  readonly opened = signal<ReadonlySet<number>>(new Set());
  readonly run = signal<RunOut | null>(null);
  readonly why = signal<Why | null>(null);
  readonly usage = signal<Usage | null>(null);
  readonly lineage = signal<Lineage | null>(null);
  readonly problem = signal<Problem | null>(null);
  /** Texts of records that have come, by number; `textsVersion` counts up with them. */
  readonly texts = new Map<number, string>();
  readonly textsVersion = signal(0);

  #waiting: [Head, string][] = [];
  #frame = 0;
  #history = 0;
  #following: Following | null = null;
  #over = new AbortController();
  #askedAt = 0;
  #asking = 0;
  #wanted = new Set<number>();
  readonly #unsubscribe: () => void;

  constructor(readonly id: string) {
    super();
    this.#fromUrl();
    this.#unsubscribe = place.subscribe(() => this.#fromUrl());
  }

  // ---- where the reader stands

  #fromUrl(): void {
    const { parts, query: given } = place.peek();
    if (parts[1] !== this.id) return;
    const seq = Number(given.get("seq"));
    this.seq.value = Number.isInteger(seq) && seq > 0 ? seq : null;
    this.selected.value = given.get("step");
  }

  /** Look at a record; the last one, or none, is the present. */
  go(seq: number | null): void {
    const last = this.log.count;
    this.seq.value = seq === null || seq >= last ? null : Math.max(1, Math.round(seq));
    this.#toUrl();
  }

  override select(path: string | null): void {
    super.select(path);
    this.#toUrl();
  }

  #writing = 0;
  #toUrl(): void {
    clearTimeout(this.#writing); // a browser lets an address be changed a few times a second
    this.#writing = setTimeout(() => setQuery({ seq: this.seq.peek(), step: this.selected.peek() }), 120);
  }

  // ---- loading

  async load(): Promise<void> {
    const self = path("runs", this.id);
    const heads = this.#readHeads(); // first, and with little beside it: it is what is looked at
    void this.askWhy().then(() => {
      void this.#ask<Shape>(`${self}/shape`, this.shape);
      void this.#ask(`${self}/source`, this.source);
      void this.#ask(`${self}/lineage`, this.lineage);
    });
    try {
      await heads;
    } catch (error) {
      if (this.#over.signal.aborted) return;
      if (error instanceof Problem && error.status > 0 && error.status < 500) this.problem.value = error;
      else setTimeout(() => void this.load(), 1000);
      return;
    }
    this.#follow();
  }

  close(): void {
    this.#over.abort();
    this.#unsubscribe();
    this.#following?.close();
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#asking);
    clearTimeout(this.#writing);
  }

  async #readHeads(): Promise<void> {
    let limit = 1000;
    let texts = true;
    for (;;) {
      const after = this.log.count;
      const page: HeadsPage = await ask<HeadsPage>(`${path("runs", this.id)}/heads${query({ after, limit, texts })}`, { signal: this.#over.signal });
      this.#history = page.history;
      this.total.value = Math.max(this.total.peek(), page.records);
      this.#take(page.heads.map((one) => [one.slice(0, 6) as Head, (one as unknown[])[6] as string | undefined ?? ""]), texts);
      if (page.next === null || !page.heads.length) return;
      limit = PAGE;
      texts = page.records <= TEXTS_MAX;
      await new Promise((done) => setTimeout(done)); // the page is drawn between two pages of the log
    }
  }

  async #ask<T>(of: string, into: { value: T | null }): Promise<void> {
    try {
      into.value = await ask<T>(of, { signal: this.#over.signal });
    } catch (error) {
      if (error instanceof Problem && (error.status === 0 || error.status >= 500)) setTimeout(() => !this.#over.signal.aborted && void this.#ask(of, into), 1500);
    }
  }

  /** Ask again how the run stands, why, and what it has used. */
  async askWhy(): Promise<void> {
    this.#askedAt = performance.now();
    const self = path("runs", this.id);
    await Promise.all([this.#ask(`${self}/why`, this.why), this.#ask(self, this.run), this.#ask(`${self}/usage`, this.usage)]);
  }

  /** Ask soon: when the run comes to rest, or now and then while it does not. */
  askSoon(): void {
    clearTimeout(this.#asking);
    const since = performance.now() - this.#askedAt;
    this.#asking = setTimeout(() => void this.askWhy(), since > ASKED_EACH_MS ? 0 : QUIET_MS);
  }

  // ---- live

  #follow(): void {
    if (this.#over.signal.aborted) return;
    this.#following?.close();
    const seen = this.#history ? `${this.#history}.${this.log.count}` : String(this.log.count);
    this.#following = follow(
      `${path("runs", this.id)}/events${query({ bodies: "facts", until: "ended" })}`,
      (event) => {
        if (event.event === "record") this.#onRecord(event.id ?? "", event.data);
        else if (event.event === "stopped") return this.#onStopped();
        return true;
      },
      { after: seen, onBreak: () => this.askSoon() },
    );
  }

  #onRecord(id: string, data: string): void {
    const history = id.includes(".") ? Number(id.split(".")[0]) : 0;
    if (history !== this.#history) return location.reload(); // the run goes on as its next history
    const [seq, kind, time, call, where, facts, text] = JSON.parse(data) as [...Head, string];
    this.#waiting.push([[seq, kind, time, call, where, facts], text]);
    if (this.#frame) return;
    const flush = (): void => {
      this.#frame = 0;
      const batch = this.#waiting.splice(0);
      this.#take(batch, true);
      this.askSoon();
    };
    this.#frame = document.hidden ? setTimeout(flush, 200) : requestAnimationFrame(flush);
  }

  #onStopped(): false {
    setTimeout(() => {
      this.askSoon();
      if (!FINAL.has(this.log.phaseOf(this.log.count))) setTimeout(() => this.#follow(), 3000); // blocked: until somebody mends it
    }, 50);
    return false;
  }

  #take(batch: [Head, string][], hasTexts: boolean): void {
    this.take(batch.map(([head]) => head));
    if (hasTexts) for (const [head, text] of batch) if (this.log.count <= TEXTS_MAX || head[0] > this.log.count - TEXTS_MAX) this.texts.set(head[0], text);
    this.total.value = Math.max(this.total.peek(), this.log.count);
    this.version.value += 1;
  }

  /** Have the texts of these records come, if they are not there. */
  async needTexts(first: number, last: number): Promise<void> {
    let from = Math.max(1, first);
    while (from <= last && this.texts.has(from)) from += 1;
    if (from > last || this.#wanted.has(from)) return;
    this.#wanted.add(from);
    try {
      const page = await ask<HeadsPage>(`${path("runs", this.id)}/heads${query({ after: from - 1, limit: Math.max(1, Math.min(200, last - from + 1)), texts: true })}`, { signal: this.#over.signal });
      if (this.texts.size > 4 * TEXTS_MAX) this.texts.clear();
      for (const one of page.heads) this.texts.set(one[0], (one as unknown[])[6] as string);
      this.textsVersion.value += 1;
    } catch {
      // the rows that are seen next ask again
    } finally {
      this.#wanted.delete(from);
    }
  }
}

/** Where a record's value stands in its body, as the wire has it; of other kinds the whole body is. */
const WAYS: Record<string, readonly (number | string)[]> = {
  step_completed: [3], step_bailed: [3], hook_received: [3], run_started: [3], step_failed: [3], hook_failed: [3],
  child_started: [4], timer_set: [4], hook_opened: [4], entered: [2], run_completed: [1], run_failed: [1],
  step_suspended: [3, "payload"], step_resumed: [3, "data"], child_ended: [3, 1], left: [2, 1], step_wrote: ["value"],
};

export function valueIn(kind: string, body: Json): Json | undefined {
  const at = (of: Json | undefined, name: number | string): Json | undefined => (of as Record<string, Json> | null | undefined)?.[name];
  if (kind !== "step_called") return (WAYS[kind] ?? []).reduce(at, body as Json | undefined);
  const given = (at(body, 4) ?? []) as Json[];
  const keywords = at(body, 5) ?? {};
  if (Object.keys(keywords).length) return given.length ? [...given, keywords] : keywords;
  return given.length === 1 ? given[0] : given;
}
