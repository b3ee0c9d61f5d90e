/** The records of the log, of which only those that are seen are in the page. */

import type { JSX } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import { Pane } from "../ui/parts";
import { count } from "../clock";
import { useKeys } from "../keys";
import { visible } from "../ui/basic";
import { Rows, type RowStyle } from "../ui/rows";
import { memo } from "../pages/memo";
import type { RunModel } from "./model";
import { directionOf, isBad, isLogKind, kindWords, since, SIGNS, toneOf } from "./words";

const FILTERS = ["all", "events", "commands", "errors", "logs", "selection"] as const;
type Filter = (typeof FILTERS)[number];
const SIGN: Partial<Record<Filter, string>> = { events: "→ ", commands: "← " };

export function Records({ model }: { model: RunModel }): JSX.Element {
  const { log } = model;
  const { at, version } = model.frame.value;
  const [filter, setFilter] = useState<Filter>("all");
  const [find, setFind] = useState("");
  const box = useRef<HTMLInputElement>(null);
  useKeys("This run", [{ keys: "/", label: "find in its records", run: () => box.current?.focus() }]);
  const selected = model.selected.value;
  model.textsVersion.value; // the rows show them
  const isWhole = filter === "all" && find === "";
  const shown = useMemo(() => (isWhole ? null : matching(model, filter, find.toLowerCase())), [isWhole, filter, find, filter === "selection" ? selected : "", version, find ? model.textsVersion.value : 0]);
  const total = shown ? shown.length : log.count;
  const cursor = shown ? nearest(shown, at) : at - 1;
  return (
    <Pane label="Records" head={<><span class="chips" role="group" aria-label="Which records">
          {FILTERS.map((one) => (
            <button type="button" class="chip" key={one} aria-pressed={filter === one} onClick={() => setFilter(one)}>
              {SIGN[one]}
              {one}
            </button>
          ))}
        </span>
        <span class="grow" />
        {!isWhole && <span class="faint num" role="status">{count(total)}</span>}
        <input class="filter" ref={box} type="search" placeholder="Find   /" aria-label="Find in records" value={find} onInput={(event) => setFind(event.currentTarget.value)} /></>}>
        <Rows
          class="log"
          count={total}
          height={22}
          cursor={cursor}
          label="Records"
          role="list" isFocused
          onRange={(first, last) => void model.needTexts(shown ? (shown[first] ?? 1) : first + 1, shown ? (shown[last - 1] ?? 0) : last)}
          row={(index, style) => <Line model={model} seq={shown ? shown[index]! : index + 1} at={at} style={style} />}
        />
      </Pane>
  );
}

function matching(model: RunModel, filter: Filter, find: string): number[] {
  const { log, texts } = model;
  const found: number[] = [];
  for (let seq = 1; seq <= log.count; seq++) {
    const kind = log.kindOf(seq);
    const fits =
      filter === "all" ||
      (filter === "events" && directionOf(kind) === "in") ||
      (filter === "commands" && directionOf(kind) === "out") ||
      (filter === "errors" && isBad(log, seq)) ||
      (filter === "logs" && isLogKind(kind)) ||
      (filter === "selection" && isMine(model, seq));
    if (!fits) continue;
    if (find && !`${seq} ${kindWords(kind)} ${log.pathOf(seq)} ${texts.get(seq) ?? errorText(log.factsOf(seq).error)}`.toLowerCase().includes(find)) continue;
    found.push(seq);
  }
  return found;
}

const errorText = (error: unknown): string => (error ? `${(error as { name: string }).name}: ${(error as { message: string }).message}` : "");

/** Whether the record is about what is selected. */
export function isMine(model: RunModel, seq: number): boolean {
  const selection = model.selection.peek();
  if (!selection) return false;
  const { log } = model;
  const call = log.callOf(seq);
  if (selection.call) return call === selection.call || log.blockOf(seq)?.path === selection.path;
  return selection.place !== null && (call?.place ?? log.blockOf(seq)?.place) === selection.place.index;
}

function nearest(shown: number[], at: number): number {
  let low = 0;
  let high = shown.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (shown[middle]! <= at) low = middle;
    else high = middle - 1;
  }
  return low;
}

function Line({ model, seq, at, style }: { model: RunModel; seq: number; at: number; style: RowStyle }): JSX.Element {
  const error = model.log.factsOf(seq).error;
  const look = `tone-${toneOf(model.log.kindOf(seq), error !== undefined)} ${seq === at ? "cur" : seq > at ? "future" : ""} ${isMine(model, seq) ? "mine" : ""}`;
  return <Row model={model} seq={seq} look={look} text={model.texts.get(seq) ?? errorText(error)} isNow={seq === at} style={style} />;
}

interface RowProps {
  model: RunModel;
  seq: number;
  look: string;
  text: string;
  isNow: boolean;
  style: RowStyle;
}

const Row = memo(
  ({ model, seq, look, text, isNow, style }: RowProps): JSX.Element => {
    const { log } = model;
    const kind = log.kindOf(seq);
    const path = log.pathOf(seq);
    const pick = (): void => {
      if (path) model.select(path);
      model.go(seq);
    };
    return (
      <div role="listitem" style={style}>
        <div class={`rec ${look}`} data-seq={seq} aria-current={isNow ? "true" : undefined} onClick={pick}>
          <span class="seq">{seq}</span>
          <span class="tm">{since(log.timeOf(seq) - log.timeOf(1))}</span>
          <span class="kd"><i aria-hidden="true">{SIGNS[directionOf(kind)]}</i>{kindWords(kind)}</span>
          <span class="pa" title={path}><bdi>{visible(path)}</bdi></span>
          <span class="su" title={text}><bdi>{visible(text)}</bdi></span>
        </div>
      </div>
    );
  },
);
