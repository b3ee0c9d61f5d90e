/** The runs of the tenant: what waits for a person first, why each does not move, and what moves it. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { STATUSES, type Reason, type RunOut, type Status, type Summary, type Where } from "../api/models";
import { broken } from "../api/sse";
import { fromNow, now, plural, count } from "../clock";
import { useKeys } from "../keys";
import { go, link, place, setQuery } from "../router";
import { may } from "../session";
import { ActDialog, type Act } from "../ui/act";
import { Empty, Kbd } from "../ui/basic";
import { media } from "../ui/media";
import { Rows } from "../ui/rows";
import { Bulk, type BulkAct } from "./bulk";
import { Failures } from "./failures";
import { parse, withField } from "./query";
import { actOf, RunRow, RunsHead } from "./run-row";
import { RunsModel } from "./runs-model";
import { SavedFilters } from "./saved";
import { Search } from "./search";
import { Start } from "./start";

const ROW = 34;
const NARROW_ROW = 56; // two lines: the reason stands below the id
const isNarrow = media("(max-width: 560px)");
const CHIPS = STATUSES.slice(0, -1); // but for `continued`
const ALWAYS: ReadonlySet<string> = new Set(["suspended", "failed", "running", "waiting", "success"]);

type Over = { kind: "act"; run: string; act: Act } | { kind: "bulk"; where: Where; text: string; act?: BulkAct } | { kind: "start" } | null;

export function Runs(): JSX.Element {
  const text = place.value.query.get("q") ?? "";
  const view = place.value.query.get("view");
  const sought = useMemo(() => parse(text), [text]);
  const model = useMemo(() => new RunsModel(sought), [text]);
  useEffect(() => model.begin(), [model]);
  const [at, setAt] = useState(0);
  const [over, setOver] = useState<Over>(place.value.query.has("start") ? { kind: "start" } : null);
  const stage = useRef<HTMLElement>(null);
  useEffect(() => setAt(0), [model]);
  const rows = model.rows.value;
  const cursor = Math.max(0, Math.min(at, rows.length - 1));
  const current = rows[cursor];
  const act = (run: RunOut | undefined, which?: Act): void => {
    const reason = run && model.reasons.value.get(run.id)?.reason;
    const chosen = which ?? (run && actOf(run, reason ?? null));
    if (run && chosen && may(chosen === "delete" ? "admin" : "operator")) setOver({ kind: "act", run: run.id, act: chosen });
  };
  const bulk = (): void => void (may("operator") && setOver({ kind: "bulk", where: sought.where, text: sought.text }));
  const move = (by: number) => (): void => setAt(Math.max(0, Math.min(rows.length - 1, cursor + by)));
  useKeys("Runs", [
    { keys: ["j", "ArrowDown"], label: "next run", run: move(1) },
    { keys: ["k", "ArrowUp"], label: "run before", run: move(-1) },
    { keys: "PageDown", label: "a page down", run: move(20) },
    { keys: "PageUp", label: "a page up", run: move(-20) },
    { keys: "Home", label: "first run", run: () => setAt(0) },
    { keys: "End", label: "last run that was loaded", run: () => setAt(rows.length - 1) },
    { keys: ["Enter", "o"], label: "open the run", run: () => current && go(link("runs", current.id)) },
    { keys: "a", label: "answer, send the event, or retry: what moves the run", run: () => act(current) },
    { keys: "x", label: "cancel the run", run: () => act(current, "cancel") },
    { keys: "/", label: "find", run: () => document.getElementById("find")?.focus() },
    { keys: "n", label: "start a run", run: () => may("operator") && setOver({ kind: "start" }) },
    { keys: "f", label: "failures that are alike", run: () => setQuery({ view: view === "failures" ? null : "failures" }, true) },
    { keys: "b", label: "all runs that are sought: cancel, retry, …", run: bulk },
    { keys: "r", label: "load anew", run: () => void model.load() },
    { keys: "Escape", label: "all runs", run: () => go(link("runs")) },
  ]);
  return (
    <>
      <main class="runs" ref={stage}>
        <Lede summary={model.summary.value} />
        <section class="bar2" aria-label="Which runs">
          <Search value={text} mistakes={sought.mistakes} onChange={(q) => setQuery({ q, view: null })} onDone={() => setAt(0)} />
          <Chips summary={model.summary.value} text={text} view={view} />
          <span class="bar2-end">
            <SavedFilters text={text} />
            {may("operator") && (
              <>
                <button type="button" class="btn" title="Cancel, retry, resume or delete all of them (B)" onClick={bulk}>
                  All…
                </button>
                <button type="button" class="btn main" onClick={() => setOver({ kind: "start" })}>
                  Start a run
                  <Kbd of="n" />
                </button>
              </>
            )}
          </span>
        </section>
        {view === "failures" ? (
          <Failures onBulk={(where) => setOver({ kind: "bulk", where, text: "", act: "retry" })} />
        ) : (
          <List model={model} cursor={cursor} text={text} onTake={setAt} onAct={act} />
        )}
        <Foot model={model} />
      </main>
      {over?.kind === "act" && <ActDialog run={over.run} act={over.act} onClose={() => setOver(null)} />}
      {over?.kind === "bulk" && <Bulk where={over.where} text={over.text} {...(over.act ? { first: over.act } : {})} onClose={() => (setOver(null), void model.load())} />}
      {over?.kind === "start" && <Start workflow={place.value.query.get("start") ?? ""} onClose={() => (setOver(null), setQuery({ start: null }))} />}
    </>
  );
}

function List({ model, cursor, text, onTake, onAct }: { model: RunsModel; cursor: number; text: string; onTake: (at: number) => void; onAct: (run: RunOut, act?: Act) => void }): JSX.Element {
  const rows = model.rows.value;
  const reasons: ReadonlyMap<string, { of: string; reason: Reason | null }> = model.reasons.value;
  const fresh = model.news.value.length;
  if (model.problem.value && rows.length === 0) {
    return (
      <Empty title="The runs could not be loaded.">
        <p class="dim">{model.problem.value.message}</p>
      </Empty>
    );
  }
  if (!model.isLoading.value && rows.length === 0) return <NothingFound text={text} />;
  return (
    <div class="listbox" role="table" aria-label="Runs" aria-rowcount={model.next.value === null ? rows.length : -1} aria-busy={model.isLoading.value}>
      {(fresh > 0 || model.isStale.value) && (
        <button type="button" class="fresh" onClick={() => model.takeNews()}>
          {fresh > 0 ? `${plural(fresh, "new run")} ↑` : "Something moved: load anew"}
        </button>
      )}
      <Rows
        count={rows.length}
        height={isNarrow.value ? NARROW_ROW : ROW}
        cursor={cursor}
        role="rowgroup"
        class="list"
        head={<RunsHead />}
        onRange={(first, last) => {
          model.isAtTop = first === 0;
          model.look(first, last);
        }}
        row={(index, style) => {
          const run = rows[index]!;
          return <RunRow key={run.id} run={run} index={index} reason={reasons.get(run.id)?.reason ?? null} isCurrent={index === cursor} style={style} onTake={onTake} onAct={onAct} />;
        }}
      />
    </div>
  );
}

function NothingFound({ text }: { text: string }): JSX.Element {
  if (text)
    return (
      <Empty title="No run is like that.">
        <p>
          <a class="btn" href={link("runs")}>
            Show all runs
          </a>
        </p>
      </Empty>
    );
  return (
    <Empty title="No run has begun yet.">
      <p class="dim">
        Start one here (<Kbd of="n" />), with <code>cloche run</code>, or from a program.
      </p>
    </Empty>
  );
}

/** The state of all runs in one sentence. */
function Lede({ summary }: { summary: Summary | null }): JSX.Element {
  const of = (status: Status): number => summary?.statuses[status]?.count ?? 0;
  const told = (status: Status, one: string, many: string): string =>
    `${count(of(status))}${summary?.statuses[status]?.is_whole === false ? "+" : ""} ${of(status) === 1 ? one : many}`;
  const person = of("suspended");
  const failed = summary?.failed_unretried === null ? `${count(of("failed"))}+` : count(summary?.failed_unretried ?? 0);
  const parts: string[] = [];
  if (of("waiting")) parts.push(told("waiting", "waits for a time or an event and costs nothing", "wait for a time or an event and cost nothing"));
  if (of("running")) parts.push(told("running", "is at work", "are at work"));
  if (of("pending")) parts.push(told("pending", "waits for a worker", "wait for a worker"));
  if (of("paused")) parts.push(told("paused", "is paused", "are paused"));
  if (summary?.oldest_suspended) parts.push(`Oldest question: ${fromNow(Date.parse(summary.oldest_suspended), now.value)}`);
  const sentence = parts.map((one, index) => (index === parts.length - 1 || parts[index + 1]!.startsWith("Oldest") ? `${one}.` : `${one};`)).join(" ");
  return (
    <section class="lede" aria-label="How the runs stand">
      <h1>
        {summary === null ? (
          " "
        ) : (
          <>
            {of("blocked") > 0 && <>{told("blocked", "run is blocked", "runs are blocked")}, </>}
            {person > 0 ? (
              <>
                {told("suspended", "run waits for", "runs wait for")} <em>a person</em>
              </>
            ) : (
              <>{of("blocked") ? "none waits for a person" : "No run waits for a person"}</>
            )}
            , {failed === "0" ? "none failed" : `${failed} failed`}.
          </>
        )}
      </h1>
      <p>{sentence || " "}</p>
      {summary !== null && (
        <dl class="facts">
          <div>
            <dt>Workers</dt>
            <dd class={summary.workers ? "" : "bad"}>{summary.workers || "none: nothing moves"}</dd>
          </div>
          <div>
            <dt>Queue</dt>
            <dd>{told("pending", "", "")}</dd>
          </div>
        </dl>
      )}
    </section>
  );
}

function Chips({ summary, text, view }: { summary: Summary | null; text: string; view: string | null }): JSX.Element {
  const chosen = parse(text).where.status;
  const known = CHIPS.filter((status) => ALWAYS.has(status) || summary?.statuses[status] || chosen === status);
  const show = (status: Status): string => {
    const one = summary?.statuses[status];
    return one ? `${count(one.count)}${one.is_whole ? "" : "+"}` : "0";
  };
  return (
    <span class="chips" role="group" aria-label="Status">
      <button type="button" class="chip" aria-pressed={chosen === undefined && view === null} onClick={() => setQuery({ q: withField(text, "status", null), view: null }, true)}>
        all
      </button>
      {known.map((status) => (
        <button type="button" class="chip" key={status} aria-pressed={chosen === status && view === null} onClick={() => setQuery({ q: withField(text, "status", status), view: null }, true)}>
          {status} <span class="cnt">{show(status)}</span>
        </button>
      ))}
      <button type="button" class="chip" aria-pressed={view === "failures"} title="Failures that are alike, together (F)" onClick={() => setQuery({ view: view === "failures" ? null : "failures" }, true)}>
        grouped failures
      </button>
    </span>
  );
}

function Foot({ model }: { model: RunsModel }): JSX.Element {
  const hints: [string[], string][] = [
    [["j", "k"], "move"],
    [["Enter"], "open"],
    [["a"], "answer"],
    [["/"], "find"],
    [["b"], "all of them"],
    [["?"], "keys"],
  ];
  return (
    <footer class="foot">
      {hints.map(([keys, label]) => (
        <span class="hint">
          {keys.map((one) => (
            <Kbd of={one} />
          ))}{" "}
          {label}
        </span>
      ))}
      <span class="grow" />
      <span aria-live="off">
        {plural(model.rows.value.length, "run")}
        {model.next.value !== null && " of more"}
      </span>
      <span class={broken.value ? "lamp off" : "lamp"}>{broken.value ? "○ not connected" : "● live"}</span>
    </footer>
  );
}
