/** The timeline: what took how long, to scale; what was only waited for is folded. */

import type { JSX } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { FINAL } from "../api/models";
import { Pane } from "../ui/parts";
import { clock, count, duration, now } from "../clock";
import { visible } from "../ui/basic";
import { Rows, type RowStyle } from "../ui/rows";
import type { Segment } from "./fold-words";
import type { RunModel } from "./model";
import type { Row } from "./rows";
import { scaleOf, type Scale } from "./scale";

const LABELS = 150;
const SIDE = 12;
const LIVE_EACH_MS = 500;

export function Timeline({ model, rows }: { model: RunModel; rows: Row[] }): JSX.Element {
  const { log } = model;
  const { at, version } = model.frame.value;
  const box = useRef<HTMLDivElement>(null);
  const [wide, setWide] = useState(600);
  useEffect(() => {
    const observer = new ResizeObserver(() => box.current && setWide(box.current.clientWidth));
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, []);
  const labels = wide < 460 ? 104 : LABELS;
  const isOver = FINAL.has(log.phaseOf(log.count));
  const present = isOver || log.count === 0 ? null : Math.floor(now.value / LIVE_EACH_MS) * LIVE_EACH_MS;
  const width = Math.max(60, wide - labels - SIDE);
  const scale = useMemo(() => scaleOf(log, width, present), [width, present, log.calls.length > 3000 ? Math.floor(version / 20) : version]);
  const selection = model.selection.value;
  const cursor = selection ? rows.findIndex((row) => (selection.call ? row.call === selection.call.index : row.call === null && row.place === selection.place)) : -1;
  const isLive = model.isLive.value;
  const x = isLive && !isOver ? width : scale.x(log.timeOf(at));
  return (
    <Pane label="Timeline" head={<><span class="grow" />
        <span class="legend" aria-hidden="true">
          <span><i class="bar q" />queue</span>
          <span><i class="bar work" />work</span>
          <span><i class="bar failed" />failed</span>
          <span><i class="bar retry" />retry</span>
          <span><i class="bar sus" />person</span>
          <span><i class="bar waits" />waits</span>
        </span></>} class="tl" body={{ ref: box, style: { "--labels": `${labels}px` } }}>
        <div class="axis" aria-hidden="true">
          {scale.ticks.map((tick) => (
            <>
              <i style={{ left: `${tick.x}px` }} />
              <span class={tick.time ? "" : "first"} style={{ left: `${tick.x}px` }}>{tick.time ? duration(tick.time) : clock(scale.from).split(", ").at(-1)}</span>
            </>
          ))}
          {scale.folds.map((fold) => (
            <div class={`fold ${fold.tone}`} key={fold.from} style={{ left: `${fold.x}px`, width: `${fold.w}px` }} title={`waited ${duration(fold.to - fold.from)}`}>
              {fold.w > 40 && <b>{duration(fold.to - fold.from)}</b>}
            </div>
          ))}
        </div>
        <Rows count={rows.length} height={21} cursor={cursor} label="What was called" role="list" isFocused row={(index, style) => <Lane model={model} row={rows[index]!} scale={scale} style={style} at={at} isLive={isLive} isOver={isOver} />} />
        {log.count > 0 && <div class="now" style={{ left: `${labels + x}px` }} />}
      </Pane>
  );
}

const LOOKS: Record<string, string> = { queue: "q", work: "work", failed: "failed", lost: "failed lost", retry: "retry", suspended: "sus", waiting: "waits", child: "waits" };

function Lane({ model, row, scale, style, at, isLive, isOver }: { model: RunModel; row: Row; scale: Scale; style: RowStyle; at: number; isLive: boolean; isOver: boolean }): JSX.Element {
  const { log } = model;
  const selection = model.selection.value;
  const isSelected = selection !== null && (selection.call !== null ? selection.call.index === row.call : row.call === null && selection.place === row.place);
  const path = row.call === null ? row.place.path : log.calls[row.call]!.path;
  const toggle = (event: Event): void => {
    event.stopPropagation();
    toggleRow(model, row.place.index);
  };
  return (
    <div role="listitem" style={style}>
      <div class={`r ${row.depth ? "kid" : ""} ${isSelected ? "sel" : ""}`} data-row={path} onClick={() => model.select(path)}>
        <div class="l" style={{ paddingLeft: `${12 + row.depth * 11}px` }} title={row.label}>
          {row.call === null && (row.isFolded || row.count > 1) ? (
            <button type="button" class="fold-row" aria-expanded={!row.isFolded} aria-label={`the ${count(row.count)} of ${visible(row.label)}`} onClick={toggle}>{row.isFolded ? "▸" : "▾"}</button>
          ) : null}
          <bdi>{visible(last(row))}</bdi>
          {row.call === null && row.count > 1 && <span class="faint"> ×{count(row.count)}</span>}
        </div>
        <div class="lane">{row.call === null ? <Group model={model} row={row} scale={scale} at={at} isLive={isLive} /> : <Bars model={model} call={row.call} scale={scale} at={at} isLive={isLive} isOver={isOver} />}</div>
      </div>
    </div>
  );
}

/** Deep rows say what is below the row above them. */
const last = (row: Row): string => (row.depth ? row.label.slice(row.label.lastIndexOf("/") + 1) : row.label);

function Bars({ model, call, scale, at, isLive, isOver }: { model: RunModel; call: number; scale: Scale; at: number; isLive: boolean; isOver: boolean }): JSX.Element {
  const { log } = model;
  const state = log.callAt(call, log.count)!;
  const until = isLive ? Infinity : log.timeOf(at);
  const isReached = log.calls[call]!.seqs[0]! <= at;
  const parts = state.segments.flatMap((segment) => pieces(segment, scale, isReached ? until : -1));
  const end = state.ended_at ?? scale.to;
  const right = scale.x(end);
  const isLate = right + 60 > scale.width;
  const took = state.ended_at === null ? (isOver ? "" : state.status === "running" ? "…" : "") : duration(state.ended_at - state.called_at);
  return (
    <>
      {parts}
      {took && (
        <span class={`t ${!isReached || end > until ? "ghost" : ""}`} style={isLate ? { right: `${scale.width - scale.x(state.called_at) + 5}px` } : { left: `${right + 5}px` }}>
          {took}
        </span>
      )}
    </>
  );
}

function pieces([what, from, to]: Segment, scale: Scale, until: number): JSX.Element[] {
  const look = LOOKS[what] ?? "work";
  const end = to ?? scale.to;
  const one = (a: number, b: number, isGhost: boolean): JSX.Element => {
    const left = scale.x(a);
    return <div class={`bar ${look} ${isGhost ? "ghost" : ""}`} title={`${what} ${duration(b - a)}`} style={{ left: `${left}px`, width: `${Math.max(1.5, scale.x(b) - left)}px` }} />;
  };
  if (from < until && end > until) return [one(from, until, false), one(until, end, true)];
  return [one(from, end, from >= until)];
}

/** All calls of a place in one line: when any was under way. */
function Group({ model, row, scale, at, isLive }: { model: RunModel; row: Row; scale: Scale; at: number; isLive: boolean }): JSX.Element {
  const { log } = model;
  const until = isLive ? Infinity : log.timeOf(at);
  const spans = useMemo(() => spansOf(model, row, scale), [scale, row.place.calls.length, row.place.blocks.length]);
  const bars = spans.map(([left, width, time]) => <div class={`bar span ${time > until ? "ghost" : ""}`} key={left} style={{ left: `${left}px`, width: `${width}px` }} />);
  const end = spans.at(-1);
  if (!end) return <></>;
  const first = spans[0]!;
  return (
    <>
      {bars}
      {row.isFolded && row.count > 1 && end[0] + end[1] + 64 < scale.width && <span class="t" style={{ left: `${Math.max(first[0], end[0] + end[1]) + 5}px` }}>{duration(end[3] - first[2])}</span>}
    </>
  );
}

/** Left, width, from and to of each stretch in which something of the place was under way, by pixels. */
function spansOf({ log }: RunModel, row: Row, scale: Scale): [number, number, number, number][] {
  const { index: own, blocks, calls } = row.place;
  const below = (): number[] => log.places.flatMap((place) => (place.above.includes(own) ? place.calls : []));
  const spanned = blocks.length ? blocks.map((index) => log.blocks[index]!) : (calls.length ? calls : below()).map((index) => log.calls[index]!);
  const ends = spanned.map((one) => [log.timeOf("seq" in one ? one.seq : one.seqs[0]!), one.closed ? log.timeOf(one.closed) : scale.to] as const);
  ends.sort((a, b) => a[0] - b[0]);
  const spans: [number, number, number, number][] = [];
  for (const [from, to] of ends) {
    const left = scale.x(from);
    const right = Math.max(left + 1.5, scale.x(to));
    const before = spans.at(-1);
    if (before && left <= before[0] + before[1] + 1) {
      before[1] = Math.max(before[1], right - before[0]);
      before[3] = Math.max(before[3], to);
    } else spans.push([left, right - left, from, to]);
  }
  return spans;
}

/** Open or close the rows of a place. */
export function toggleRow(model: RunModel, place: number): void {
  const changed = new Set(model.opened.peek());
  if (!changed.delete(place)) changed.add(place);
  model.opened.value = changed;
}
