/** The graph with how each of its boxes stands at the record that is looked at. */

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { Pane } from "../ui/parts";
import { count } from "../clock";
import { visible } from "../ui/basic";
import { link } from "../router";
import type { Log } from "./fold";
import { STATUSES } from "./fold-words";
import { happened } from "./happened";
import { HIGH, layoutOfHappened, layoutOfShape, type Box, type Layout } from "./layout";
import type { CodeModel } from "./code-model";

const MANY = 3000; // calls: a graph of so many is laid out anew a few times a second at most

interface Standing {
  status: string;
  counts: number[];
  total: number;
}

export function Graph({ model }: { model: CodeModel }): JSX.Element {
  const { log } = model;
  const { version } = model.frame.value;
  const shape = model.shape.value;
  const hasCalls = log.calls.length > 0;
  const [asWritten, setWritten] = useState<boolean | null>(null);
  const isNative = shape?.is_native ?? false;
  const written = !isNative || (asWritten ?? !hasCalls);
  const step = log.calls.length > MANY ? Math.floor(log.count / 2000) : version;
  const layout = useMemo<Layout>(() => {
    if (shape === null) return layoutOfShape([]);
    return written ? layoutOfShape(shape.items) : layoutOfHappened(happened(log));
  }, [shape, written, isNative && !written ? step : 0]);
  const standing = new Map(layout.boxes.map((box) => [box.key, standingOf(log, box)]));
  if (!isNative) skip(layout, standing);
  const done = [...standing.values()].filter((one) => one.status === "success").length;
  const reached = [...standing.values()].filter((one) => one.status !== "skipped").length;
  return (
    <Pane label="Graph" head={<><span class="faint">{layout.boxes.length > 0 && log.count > 0 && (isNative && !written ? `${count(log.calls.length)} calls` : `${done} of ${reached} done`)}</span>
        <span class="grow" />
        {isNative && shape?.is_read && hasCalls && (
          <span class="chips">
            <button type="button" class="chip" aria-pressed={!written} onClick={() => setWritten(false)}>as it happened</button>
            <button type="button" class="chip" aria-pressed={written} onClick={() => setWritten(true)}>as written</button>
          </span>
        )}</>} class="graph" body={{ tabIndex: 0, "aria-label": "Graph" }}>
        {layout.boxes.length > 0 ? <Drawing model={model} layout={layout} standing={standing} /> : <p class="hint">{shape && "Nothing can be drawn of its source. The calls of a run appear here as they happen."}</p>}
      </Pane>
  );
}

function standingOf(log: Log, box: Box): Standing {
  const counts = new Array<number>(STATUSES.length).fill(0);
  if (box.calls === null) {
    const place = log.place(box.place);
    if (!place) return { status: "idle", counts, total: 0 };
    for (let status = 0; status < counts.length; status++) counts[status] = log.items[place.index * STATUSES.length + status]!;
    return { status: log.placeStatus(place.index), counts, total: counts.reduce((sum, one) => sum + one, 0) };
  }
  for (const index of box.calls) {
    const status = log.callStatus[index]!;
    if (status < counts.length) counts[status]! += 1;
  }
  const total = counts.reduce((sum, one) => sum + one, 0);
  const first = counts.findIndex((one, status) => status < 7 && one > 0);
  const status = first >= 0 ? STATUSES[first]! : counts[8] ? "failed" : counts[7] ? "success" : counts[9] ? "canceled" : "idle";
  return { status, counts, total };
}

/** An arm beside one that was taken was not taken itself, once something came after it. */
function skip(layout: Layout, standing: Map<string, Standing>): void {
  const reached = (key: string): boolean => standing.get(key)!.status !== "idle";
  const arms = layout.boxes.filter((box) => box.arm);
  for (const box of arms) {
    if (reached(box.key)) continue;
    const before = layout.edges.filter((edge) => edge.to.includes(box.key)).flatMap((edge) => edge.from);
    const sisters = layout.edges.filter((edge) => edge.from.some((one) => before.includes(one))).flatMap((edge) => edge.to);
    if (sisters.some((one) => one !== box.key && reached(one))) standing.get(box.key)!.status = "skipped";
  }
}

function Drawing({ model, layout, standing }: { model: CodeModel; layout: Layout; standing: Map<string, Standing> }): JSX.Element {
  const isWalked = (edge: { from: string[]; to: string[] }): string => {
    const to = edge.to.map((one) => standing.get(one)!.status);
    const from = edge.from.map((one) => standing.get(one)!.status);
    if (to.includes("skipped") || from.includes("skipped")) return "dead";
    return to.some((one) => one !== "idle") ? "walked" : "";
  };
  return (
    <svg viewBox={`0 0 ${layout.w} ${layout.h}`} width={layout.w} height={layout.h} class={layout.w > 480 ? "wide" : ""} role="group" aria-label="Graph">
      {layout.frames.map((frame, index) => (
        frame.h > 0 && <rect key={index} class="frame" x={frame.x} y={frame.y} width={frame.w} height={frame.h} rx={8} />
      ))}
      {layout.edges.map((edge, index) => <path key={`e${index}`} class={`edge ${isWalked(edge)}`} d={edge.path} />)}
      {layout.frames.map((frame, index) =>
        frame.label && (
          <text key={`t${index}`} class="sub on" x={frame.x + 7} y={frame.y + 11}>
            <title>{frame.label}</title>
            {cut(visible(frame.label), Math.max(4, Math.floor((frame.w - 10) / 5.8)))}
          </text>
        ),
      )}
      {layout.boxes.map((box) => <Node key={box.key} model={model} box={box} standing={standing.get(box.key)!} />)}
    </svg>
  );
}

const cut = (text: string, most: number): string => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function Node({ model, box, standing }: { model: CodeModel; box: Box; standing: Standing }): JSX.Element {
  const { log } = model;
  const { status, counts, total } = standing;
  const selection = model.selection.value;
  const place = box.calls === null ? log.place(box.place) : undefined;
  const isSelected = selection !== null && (box.calls === null ? box.place !== "" && (selection.path === box.place || (place !== undefined && selection.call?.place === place.index)) : selection.call !== null && box.calls.includes(selection.call.index));
  const calls = box.calls ?? place?.calls ?? [];
  const hasStrip = total > 1 || ((box.kind === "foreach" || box.kind === "loop") && total > 0);
  const strip = hasStrip ? stripOf(counts, calls, log) : [];
  const aside = hasStrip ? (total > 5 ? `×${count(total)}` : "") : box.text;
  const shown = visible(box.label);
  const room = Math.max(3, Math.floor((box.w - 24 - (hasStrip ? (total > 5 ? 34 + aside.length * 6 : strip.length * 8 + 8) : box.text ? box.text.length * 5.8 + 8 : 4)) / 6.6));
  const label = cut(shown, room);
  const isRound = box.kind === "map" || box.kind === "sleep" || box.kind === "event";
  const pick = (): void => {
    if (box.calls === null) model.select(box.place || null);
    else {
      const seen = box.calls.filter((index) => log.callStatus[index]! < STATUSES.length);
      model.select(log.calls[seen.at(-1) ?? box.calls[0]!]!.path);
    }
  };
  const child = box.kind === "child" && calls.length ? log.calls[calls.at(-1)!]!.run : log.calls[calls.at(-1) ?? -1]?.run;
  return (
    <>
    <g
      class={`node ${status} ${isSelected ? "sel" : ""}`}
      tabIndex={0}
      role="button"
      aria-pressed={isSelected}
      aria-label={`${[label, label === shown ? "" : shown, child ? "" : aside].filter(Boolean).join(" ")}, ${status}${total > 1 ? `, ${count(total)} times` : ""}`}
      data-place={box.place || shown}
      onClick={pick}
      onKeyDown={(event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        event.stopPropagation();
        pick();
      }}
    >
      <title>{`${box.label} · ${status}${box.text ? ` · ${box.text}` : ""}`}</title>
      <rect class="b" x={box.x} y={box.y} width={box.w} height={HIGH} rx={isRound ? 13 : 5} />
      <Mark status={status} x={box.x + 12} y={box.y + 13.5} />
      <text x={box.x + 21} y={box.y + 17.5}>{label}</text>
      {aside && !child && <text class="sub" x={box.x + box.w - 8 - (hasStrip && total > 5 ? 30 : 0)} y={box.y + 17} text-anchor="end">{` ${visible(aside)}`}</text>}
      {strip.map(([tone, from, to], index) =>
        total > 5 ? (
          <rect key={index} class={`s ${tone}`} x={box.x + box.w - 34 + from * 28} y={box.y + 10.5} width={Math.max(0.5, (to - from) * 28)} height={6} />
        ) : (
          <rect key={index} class={`s ${tone}`} x={box.x + box.w - 6 - (strip.length - index) * 8} y={box.y + 10.5} width={6} height={6} rx={1.5} />
        ),
      )}
    </g>
    {child && (
        <a href={link("runs", child)} aria-label={`the child run ${child.replaceAll("\u001f", " › ")}`} onClick={(event) => event.stopPropagation()}>
          <text class="sub away" x={box.x + box.w - 8} y={box.y + 17} text-anchor="end">run ↗</text>
        </a>
      )}
    </>
  );
}

/** A glyph of its own for each status, so that colour is never alone. */
function Mark({ status, x, y }: { status: string; x: number; y: number }): JSX.Element {
  if (status === "failed") return <path class="mark line" d={`M${x - 3} ${y - 3}l6 6m0 -6l-6 6`} />;
  if (status === "suspended") return <path class="mark" d={`M${x} ${y - 4}l4 4l-4 4l-4 -4Z`} />;
  if (status === "waiting" || status === "retry" || status === "child") return <rect class="mark" x={x - 3} y={y - 3} width={6} height={6} rx={1} />;
  if (status === "canceled") return <path class="mark line" d={`M${x - 3.5} ${y}h7`} />;
  return <circle class="mark" cx={x} cy={y} r={3.2} />;
}

/** Up to five squares in their order; of more, parts of a bar. */
function stripOf(counts: number[], calls: number[], log: Log): [string, number, number][] {
  const total = counts.reduce((sum, one) => sum + one, 0);
  if (total <= 5) {
    if (calls.length) return calls.slice(0, 5).map((index) => [STATUSES[log.callStatus[index]!] ?? "idle", 0, 0]);
    return counts.flatMap((one, status) => new Array<[string, number, number]>(one).fill([STATUSES[status]!, 0, 0]));
  }
  let from = 0;
  return [7, 8, 9, 1, 0, 2, 3, 4, 5, 6].filter((status) => counts[status]).map((status) => {
    const to = from + counts[status]! / total;
    const part: [string, number, number] = [STATUSES[status]!, from, to];
    from = to;
    return part;
  });
}
