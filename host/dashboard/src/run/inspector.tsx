/** What is selected: its attempts, what went in and came out, how it failed, what it printed. Values come when they are looked at. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ask, path, textOf } from "../api/client";
import type { Json } from "../api/models";
import { clock, count, duration, size } from "../clock";
import { link } from "../router";
import { Copy, Pill, Text, visible } from "../ui/basic";
import { Pane, Wrong } from "../ui/parts";
import { Payload } from "../ui/payload";
import { Again } from "./act-panel";
import type { Call, CallState, Segment } from "./fold-words";
import { valueIn, type RunModel } from "./model";
import { kindWords, pillOf } from "./words";

interface RecordOut {
  seq: number;
  kind: string;
  time: string;
  size: number;
  hash: string;
  body: Json;
}

const WHOLE_MAX = 256 * 1024; // bytes that come without being asked for

export function Inspector({ model }: { model: RunModel }): JSX.Element {
  const { at } = model.frame.value;
  const selection = model.selection.value;
  const call = selection || model.isLive.value ? model.meant() : null;
  return (
    <Pane label="Inspector" title={<h2>{selection || call ? "Step" : "Record"}</h2>} head={<><span class="grow" />
        <Again model={model} isSmall /></>} body={{ tabIndex: 0, "aria-label": "What is selected" }}>
        <div class="insp">
          {call ? <OfCall model={model} call={call} at={at} /> : selection ? <OfPlace model={model} at={at} /> : <OfRecord model={model} seq={at} />}
        </div>
      </Pane>
  );
}

function OfCall({ model, call, at }: { model: RunModel; call: Call; at: number }): JSX.Element {
  const { log } = model;
  const state = log.callAt(call.index, at);
  if (state === null) return <Unreached name={call.path} at={at} />;
  const seqs = call.seqs.filter((one) => one <= at);
  const of = (...kinds: string[]): number | undefined => seqs.findLast((one) => kinds.includes(log.kindOf(one)));
  const ended = of("step_completed", "step_bailed", "hook_received", "child_ended", "left");
  const failed = of("step_failed", "hook_failed");
  const asked = of("step_suspended");
  const resumed = of("step_resumed");
  const trouble = of("attempt_failed") ?? failed;
  const logs = seqs.filter((one) => log.kindOf(one) === "step_logged" || log.kindOf(one) === "step_wrote");
  return (
    <>
      <Title name={call.path} status={state.status}><span class="faint num">call {call.call}</span></Title>
      {call.name !== call.path && <p class="dim">{call.kind === "child" ? "workflow" : call.kind} <Text class="mono" of={call.name} /></p>}
      {call.run && <p><a class="mono" href={link("runs", call.run)}><bdi>{visible(call.run)}</bdi></a></p>}
      {call.kind === "step" ? <Attempts model={model} call={call} state={state} seqs={seqs} /> : <Waits state={state} />}
      {state.error !== null && trouble !== undefined && <Error model={model} seq={trouble} state={state} />}
      {asked !== undefined && state.status === "suspended" && <Value model={model} seq={asked} label="Asks" more={`since ${clock(log.timeOf(asked))}${labelsOf(log.factsOf(asked).labels)}`} />}
      {ended !== undefined && <Value model={model} seq={ended} label={log.kindOf(ended) === "step_bailed" ? "Bailed with" : "Out"} />}
      {resumed !== undefined && <Value model={model} seq={resumed} label="Answer" />}
      <Value model={model} seq={call.seqs[0]!} label={call.kind === "timer" ? "Carries" : "In"} />
      {logs.map((one) => <Logs key={one} model={model} seq={one} />)}
    </>
  );
}

const labelsOf = (labels: unknown): string => (Array.isArray(labels) && labels.length ? ` · label ${labels.join(", ")}` : "");

function Unreached({ name, at }: { name: string; at: number }): JSX.Element {
  return <><Title name={name} /><p class="dim">Not reached at record {count(at)}.</p></>;
}

function Title({ name, status, children }: { name: string; status?: string; children?: ComponentChildren }): JSX.Element {
  return (
    <h3>
      <Text of={name} /> {status && <Pill status={pillOf(status)} />}
      <span class="grow" />
      {children}
    </h3>
  );
}

function Waits({ state }: { state: CallState }): JSX.Element {
  return (
    <p class="dim num">
      {state.ended_at === null ? "Since" : "From"} {clock(state.called_at)}
      {state.ended_at !== null ? `, ${duration(state.ended_at - state.called_at)}` : state.due !== null ? `, until ${clock(state.due)}` : ""}
    </p>
  );
}

/** Each attempt, with how long it was queued and worked, and how it ended. */
function Attempts({ model, call, state, seqs }: { model: RunModel; call: Call; state: CallState; seqs: number[] }): JSX.Element {
  const { log } = model;
  const errors = seqs.filter((one) => log.kindOf(one) === "attempt_failed").map((one) => log.factsOf(one).error as { name: string; message: string });
  const works = state.segments.filter(([what]) => what === "work" || what === "failed" || what === "lost");
  let number = 0;
  const sums = new Map<string, number>();
  for (const [what, from, to] of state.segments) if (to !== null) sums.set(what, (sums.get(what) ?? 0) + to - from);
  return (
    <>
      <div class="att num">
        {works.slice(-20).map((segment, index) => {
          const [what, from, to] = segment;
          const error = what === "failed" ? (errors[number++] ?? state.error) : null;
          return (
            <>
              <span class="faint">{Math.max(0, works.length - 20) + index + 1}</span>
              <span>{to === null ? "…" : duration(to - from)}</span>
              <span class="dim">{howOf(segment, state, index === Math.min(works.length, 20) - 1)}</span>
              <span class="e">{error && <Text of={`${error.name}: ${error.message}`} />}</span>
            </>
          );
        })}
      </div>
      <p class="sums faint num">
        {["queue", "work", "failed", "retry", "suspended"].filter((what) => sums.get(what)).map((what) => `${what} ${duration(sums.get(what)!)}`).join(" · ")}
        {state.status === "retry" && state.due !== null && ` · again at ${clock(state.due)}`}
      </p>
      {works.length === 0 && <p class="dim">{state.ended_at === null ? `Queued since ${clock(call ? state.since : 0)}.` : "It ended before an attempt began."}</p>}
    </>
  );
}

function howOf([what, , to]: Segment, state: CallState, isLast: boolean): string {
  if (what === "failed") return "failed";
  if (what === "lost") return "lost";
  if (to === null) return state.status === "away" ? "away" : "runs";
  if (isLast && state.status === "suspended") return "asked";
  return isLast && state.status === "canceled" ? "dropped" : isLast && state.status === "success" ? "ok" : "asked";
}

const kept = new WeakMap<RunModel, Map<number, Promise<RecordOut>>>();

function recordOf(model: RunModel, seq: number): Promise<RecordOut> {
  let known = kept.get(model);
  if (!known) kept.set(model, (known = new Map()));
  let found = known.get(seq);
  if (!found) {
    if (known.size > 300) known.clear();
    found = ask<RecordOut>(`${path("runs", model.id)}/records/${seq}`);
    found.catch(() => known.delete(seq));
    known.set(seq, found);
  }
  return found;
}

interface Read {
  record: RecordOut | null;
  problem: string;
}

function useRecord(model: RunModel, seq: number): Read {
  const [read, setRead] = useState<Read & { seq: number }>({ record: null, problem: "", seq });
  useEffect(() => {
    let isOver = false;
    const timer = setTimeout(() => {
      recordOf(model, seq).then(
        (record) => isOver || setRead({ record, problem: "", seq }),
        (error) => isOver || setRead({ record: null, problem: textOf(error), seq }),
      );
    }, kept.get(model)?.has(seq) ? 0 : 60); // while the scrubber moves, values of what is only passed are not asked for
    return () => ((isOver = true), clearTimeout(timer));
  }, [seq]);
  return read.seq === seq ? read : { record: null, problem: "" };
}

function Value({ model, seq, label, more = "" }: { model: RunModel; seq: number; label: string; more?: string }): JSX.Element {
  const { record, problem } = useRecord(model, seq);
  const value = record ? valueIn(record.kind, record.body) : undefined;
  return (
    <div class="value">
      <h4>
        {label}
        <span class="mono" title={record?.hash}>{[more, record && size(record.size), record?.hash.slice(0, 10)].filter(Boolean).join(" · ")}</span>
      </h4>
      <Wrong>{problem}</Wrong>
      {record && (record.size > WHOLE_MAX ? <Large model={model} record={record} value={value} /> : <Payload value={value ?? null} />)}
      {!record && !problem && <pre class="empty" aria-busy="true">…</pre>}
    </div>
  );
}

/** A value that would stop the page is cut, and can be had as a file. */
function Large({ model, record, value }: { model: RunModel; record: RecordOut; value: Json | undefined }): JSX.Element {
  return (
    <>
      <pre tabIndex={0}><bdi>{JSON.stringify(value ?? null).slice(0, 2000)}…</bdi></pre>
      <p class="cut">
        {size(record.size)} in all. <a class="textlink" href={`v1/${path("runs", model.id)}/records/${record.seq}/body`} download={`${record.seq}.cbor`}>Download it</a> · <Copy what="the value" text={() => JSON.stringify(value)}>Copy</Copy>
      </p>
    </>
  );
}

function Error({ model, seq, state }: { model: RunModel; seq: number; state: CallState }): JSX.Element {
  const { record } = useRecord(model, seq);
  const body = (record?.body ?? {}) as Record<string, Json>;
  const failure = record?.kind === "attempt_failed" ? (body.failure as Record<string, Json> | undefined) : (valueIn(record?.kind ?? "", record?.body ?? null) as Record<string, Json> | undefined);
  const traceback = typeof body.traceback === "string" ? body.traceback : "";
  const message = typeof failure?.message === "string" ? failure.message : state.error!.message;
  return (
    <div class="error">
      <h4>Error<span class="mono">record {seq}</span></h4>
      <p class="mistake"><b><Text of={state.error!.name} /></b> <bdi>{visible(message.slice(0, 4000))}</bdi></p>
      {failure?.data !== undefined && failure.data !== null && <Payload value={failure.data} label="Data" />}
      {traceback && <pre class="trace" tabIndex={0} aria-label="Traceback"><bdi>{traceback.slice(0, 20_000).replace(/[^\n\t\x20-\uffff]/g, "\u25a1")}</bdi></pre>}
    </div>
  );
}

function Logs({ model, seq }: { model: RunModel; seq: number }): JSX.Element | null {
  const { record } = useRecord(model, seq);
  if (!record) return null;
  const body = record.body as Record<string, Json>;
  if (record.kind === "step_wrote") return <Value model={model} seq={seq} label="Wrote" />;
  const lines = (Array.isArray(body.lines) ? body.lines : []) as [number, string][];
  return (
    <div class="value">
      <h4>Logged<span class="mono">attempt {String(body.attempt ?? 1)}{body.dropped ? ` · ${body.dropped} more` : ""}</span></h4>
      <pre tabIndex={0}>
        {lines.slice(0, 500).map(([level, text], index) => (
          <span key={index} class={level >= 4 ? "lv bad" : level === 3 ? "lv sus" : "lv"}><bdi>{visible(String(text).slice(0, 2000))}</bdi>{"\n"}</span>
        ))}
      </pre>
    </div>
  );
}

function OfPlace({ model, at }: { model: RunModel; at: number }): JSX.Element {
  const { log } = model;
  const { place, path: name } = model.selection.value!;
  if (place === null) return <Unreached name={name} at={at} />;
  const status = log.placeStatus(place.index);
  const block = place.blocks.map((index) => log.blocks[index]!).filter((one) => one.seq <= at).at(-1);
  const calls = place.calls.filter((index) => log.calls[index]!.seqs[0]! <= at);
  const left = block?.closed && block.closed <= at ? block.closed : 0;
  if (status === "idle") return <Unreached name={name} at={at} />;
  return (
    <>
      <Title name={name} status={status} />
      {calls.length > 0 && (
        <ul class="calls">
          {calls.slice(-30).map((index) => (
            <li key={index}>
              <button type="button" class="textlink" onClick={() => model.select(log.calls[index]!.path)}>
                <bdi>{visible(log.calls[index]!.path)}</bdi>
              </button>{" "}
              <span class="faint">{log.callAt(index, at)!.status}</span>
            </li>
          ))}
          {calls.length > 30 && <li class="faint">and {count(calls.length - 30)} before them</li>}
        </ul>
      )}
      {left > 0 && <Value model={model} seq={left} label="Out" />}
      {block && <Value model={model} seq={block.seq} label="In" />}
    </>
  );
}

/** Nothing is selected: the record itself. */
function OfRecord({ model, seq }: { model: RunModel; seq: number }): JSX.Element {
  const { log } = model;
  if (seq < 1) return <p class="dim">It has no records yet.</p>;
  return (
    <>
      <Title name={kindWords(log.kindOf(seq))}><span class="faint num">record {count(seq)}</span></Title>
      <p class="dim num">{clock(log.timeOf(seq))}</p>
      <Value model={model} seq={seq} label="Body" />
    </>
  );
}
