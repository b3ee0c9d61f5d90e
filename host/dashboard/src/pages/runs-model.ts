/** The list of runs: its pages, the reasons of the rows that are seen, and what the feed changes. */

import { signal } from "../signals";
import { ask, clockSkew, Problem, query } from "../api/client";
import type { Reason, RunOut, RunPage, Status, Summary } from "../api/models";
import { follow, type Following } from "../api/sse";
import { toastError } from "../ui/toast";
import { matches, parameters, type Sought } from "./query";

const PAGE = 100;
const FIRST: readonly Status[] = ["blocked", "suspended", "failed"]; // what waits for a person comes first
const FIRST_MAX = 50;
const REASONS_MAX = 40;
const BEFORE_MS = 10_000; // how far the feed begins before now: clocks that are 3 s apart are taken as one
const TOGETHER_MS = 150; // events of the feed that are applied at once

export class RunsModel {
  readonly rows = signal<RunOut[]>([]);
  readonly next = signal<string | null>(null);
  readonly isLoading = signal(true);
  readonly problem = signal<Problem | null>(null);
  readonly summary = signal<Summary | null>(null);
  /** Runs that came while the reader was further down. */
  readonly news = signal<RunOut[]>([]);
  /** Whether something moved that only the server can place. */
  readonly isStale = signal(false);
  readonly reasons = signal<ReadonlyMap<string, { of: string; reason: Reason | null }>>(new Map());
  isAtTop = true;

  private places = new Map<string, number>();
  private following: Following | null = null;
  private waiting = new Map<string, RunOut>();
  private timers: ReturnType<typeof setTimeout>[] = [];
  private asking = false;
  private isOver = false;
  private seen: [number, number] = [0, 30];

  constructor(private readonly sought: Sought) {}

  begin(): () => void {
    void this.load();
    void this.summarize();
    // From before the list was asked for, by the server's clock: what moves meanwhile, or while the server is away, is not missed.
    const since = Math.floor(Date.now() + clockSkew.peek() - BEFORE_MS);
    this.following = follow(`feed?cursor=${since}`, (event) => {
      if (event.event !== "run") return;
      const run = JSON.parse(event.data) as RunOut;
      this.waiting.set(run.id, run);
      if (this.waiting.size === 1) this.timers.push(setTimeout(() => this.apply(), TOGETHER_MS));
    });
    const timer = setInterval(() => document.visibilityState === "visible" && void this.summarize(), 5000);
    return () => {
      this.isOver = true;
      this.following?.close();
      clearInterval(timer);
      this.timers.forEach(clearTimeout);
    };
  }

  /** The first page; where nothing is sought what waits for a person before all else. */
  async load(): Promise<void> {
    const of = parameters(this.sought);
    const isPlain = !Object.values(of).some((one) => (Array.isArray(one) ? one.length : one !== undefined));
    try {
      const page = ask<RunPage>(`runs${query({ ...of, limit: PAGE })}`);
      const first = isPlain ? FIRST.map((status) => ask<RunPage>(`runs${query({ status, limit: FIRST_MAX })}`)) : [];
      const exact = this.sought.text && !/\s/.test(this.sought.text) ? ask<RunOut>(`runs/${encodeURIComponent(this.sought.text)}`).catch(() => null) : null;
      const ahead = (await Promise.all(first)).flatMap((one) => one.runs);
      const found = await exact;
      const { runs, next } = await page;
      if (this.isOver) return;
      this.place([...(found ? [found] : []), ...ahead, ...runs]);
      this.next.value = next;
      this.news.value = [];
      this.isStale.value = this.isLoading.value = false;
      this.problem.value = null;
    } catch (error) {
      if (this.isOver) return;
      this.problem.value = error instanceof Problem ? error : null;
      this.isLoading.value = false;
      if (error instanceof Problem && error.status === 0) this.timers.push(setTimeout(() => void this.load(), 1500));
    }
  }

  /** The page after what is there. */
  async more(): Promise<void> {
    const cursor = this.next.peek();
    if (cursor === null || this.asking) return;
    this.asking = true;
    try {
      const { runs, next } = await ask<RunPage>(`runs${query({ ...parameters(this.sought), limit: PAGE, cursor })}`);
      if (this.isOver) return;
      this.place([...this.rows.peek(), ...runs]);
      this.next.value = next;
    } catch (error) {
      if (!(error instanceof Problem && error.status === 0)) toastError(error);
    } finally {
      this.asking = false;
    }
  }

  private place(runs: RunOut[]): void {
    this.places = new Map();
    const rows: RunOut[] = [];
    for (const run of runs) {
      if (this.places.has(run.id)) continue;
      this.places.set(run.id, rows.length);
      rows.push(run);
    }
    this.rows.value = rows;
    this.explain();
  }

  /** What moved takes its row's place; what is new comes on top, if the reader is there. */
  private apply(): void {
    const moved = [...this.waiting.values()];
    this.waiting.clear();
    let rows = this.rows.peek().slice();
    const fresh: RunOut[] = [];
    for (const run of moved) {
      const at = this.places.get(run.id);
      const fits = matches(this.sought, run);
      if (at !== undefined) rows[at] = run;
      else if (fits) fresh.push(run);
      else if (fits === null) this.isStale.value = true;
    }
    fresh.reverse();
    const status = this.sought.where.status;
    if (status !== undefined) rows = rows.filter((run) => run.status === status);
    if (this.isAtTop) this.place([...fresh, ...rows]);
    else {
      this.place(rows);
      const known = new Set(fresh.map((one) => one.id));
      this.news.value = [...fresh, ...this.news.peek().filter((one) => !known.has(one.id))];
    }
  }

  /** Put what is new on top. */
  takeNews(): void {
    const news = this.news.peek();
    if (this.isStale.peek()) return void this.load();
    this.news.value = [];
    this.place([...news, ...this.rows.peek()]);
  }

  async summarize(): Promise<void> {
    try {
      const found = await ask<Summary>("summary");
      if (!this.isOver) this.summary.value = found;
    } catch {
      // it is asked again in a moment
    }
  }

  /** These rows are seen. */
  look(first: number, last: number): void {
    this.seen = [first, last];
    if (last >= this.rows.peek().length - 40) void this.more();
    this.explain();
  }

  private explaining = false;

  /** Ask for the reasons of the rows that are seen and have moved since they were asked for. */
  private explain(): void {
    if (this.explaining) return;
    this.explaining = true;
    this.timers.push(setTimeout(() => void this.explainNow(), 60));
  }

  private async explainNow(): Promise<void> {
    const seen = this.rows.peek().slice(...this.seen);
    const known = this.reasons.peek();
    const wanted = seen.filter((run) => known.get(run.id)?.of !== stand(run)).slice(0, REASONS_MAX);
    if (wanted.length) {
      try {
        const { reasons } = await ask<{ reasons: Reason[] }>(`reasons${query({ run: wanted.map((run) => run.id) })}`);
        const found = new Map(reasons.map((one) => [one.run_id, one]));
        const all = new Map(known);
        for (const run of wanted) all.set(run.id, { of: stand(run), reason: found.get(run.id) ?? null });
        if (!this.isOver) this.reasons.value = all;
      } catch {
        await new Promise((done) => this.timers.push(setTimeout(done, 2000)));
      }
    }
    this.explaining = false;
    if (wanted.length && !this.isOver) this.explain();
  }
}

const stand = (run: RunOut): string => `${run.head_hash} ${run.status} ${run.blocked?.message ?? ""}`;
