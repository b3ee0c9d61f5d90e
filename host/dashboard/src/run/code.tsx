/** The source under glass, and the builder's calls beside it, each with the line that runs. */

import type { JSX } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import { Pane } from "../ui/parts";
import { media } from "../ui/media";
import { Rows, type RowStyle } from "../ui/rows";
import { painted } from "../ui/source";
import { memo } from "../pages/memo";
import type { Log } from "./fold";
import type { CodeModel, Shape, ShapeItem, Source } from "./code-model";

interface Page {
  title: string;
  lines: string[];
  language: string;
  /** By line, from 1: the places of what stands there. */
  places: Map<number, string[]>;
}

const GLYPHS: Record<string, string> = { success: "✓", running: "●", queued: "●", away: "●", suspended: "◆", waiting: "◷", retry: "↻", child: "◷", failed: "✕", canceled: "–" };

const isWide = media("(min-width: 1600px)"); // both sources have room beside each other

/** `more`: the same code, said otherwise. */
export function Code({ model, more = [] }: { model: CodeModel; more?: readonly Source[] }): JSX.Element {
  const [chosen, setChosen] = useState(0);
  const source = model.source.value;
  const shape = model.shape.value;
  const pages = useMemo(() => {
    const all: Source[] = [];
    if (source) all.push({ title: "Under glass", ...source });
    if (shape?.builder) all.push({ title: "Builder", language: "python", ...shape.builder });
    return [...all, ...more].map((one) => pageOf(one, shape));
  }, [source, shape, more]);
  if (pages.length === 2 && isWide.value)
    return (
      <div class="pair">
        {pages.map((page) => <Listed key={page.title} model={model} page={page} label={page.title} head={<h2>{page.title}</h2>} />)}
      </div>
    );
  const at = Math.min(chosen, pages.length - 1);
  const tabs = (
    <div class="tabs" role="tablist" aria-label="Which source">
      {pages.map((page, index) => (
        <button type="button" role="tab" key={page.title} aria-selected={index === at} onClick={() => setChosen(index)}>
          {page.title}
        </button>
      ))}
    </div>
  );
  return <Listed key={at} model={model} page={pages[at] ?? null} label="Source" head={tabs} isPanel />;
}

/** One source, with the line that runs in sight. */
function Listed({ model, page, label, head, isPanel }: { model: CodeModel; page: Page | null; label: string; head: JSX.Element; isPanel?: boolean }): JSX.Element {
  const { at } = model.frame.value;
  const hot = page ? hotLines(model, page, at) : [];
  const chosen = chosenPlace(model);
  const near = useMemo(() => (page && chosen ? Math.min(...[...page.places].filter(([, places]) => places.includes(chosen)).map(([line]) => line)) : Infinity), [page, chosen]);
  // In sight is what the reader has moved last: what is selected, or the position in the past.
  const was = useRef({ at: -1, chosen, isMoved: false }).current;
  if (was.chosen !== chosen) was.isMoved = false;
  else if (was.at !== at) was.isMoved = !model.isLive.value;
  Object.assign(was, { at, chosen });
  const cursor = Number.isFinite(near) && !(was.isMoved && hot.length) ? near : (hot[0] ?? 0);
  return (
    <Pane label={label} title={head} head={<><span class="grow" />
        <span class="faint mono" role="status">{hot.length > 0 && `line ${hot[0]}`}</span></>} body={isPanel ? { role: "tabpanel", "aria-label": label } : {}}>
        {page && (
          <Rows class="code" count={page.lines.length} height={18} cursor={cursor - 1} around={5} label="Lines" role="list" isFocused row={(index, style) => <Line key={index} model={model} page={page} line={index + 1} isHot={hot.includes(index + 1)} style={style} />} />
        )}
      </Pane>
  );
}

/** The path of the place that is selected, or of the call that is. */
function chosenPlace({ log, selection }: CodeModel): string | null {
  const chosen = selection.value;
  return chosen && (chosen.call ? log.places[chosen.call.place]!.path : chosen.path);
}

/** The lines, with the places of the node of each; of native source with those of the calls that stand there. */
function pageOf({ title = "", code, language, map }: Source, shape: Shape | null): Page {
  const lines = code.replace(/\n$/, "").split("\n");
  const places = new Map<number, string[]>();
  const add = (line: number, place: string): void => {
    const there = places.get(line);
    if (!there) places.set(line, [place]);
    else if (!there.includes(place)) there.push(place);
  };
  const byNode = new Map<string, string[]>();
  const walk = (items: readonly ShapeItem[], isWritten: boolean): void => {
    for (const item of items) {
      if (item.place && item.node) byNode.set(item.node, [...(byNode.get(item.node) ?? []), item.place]);
      if (item.place && item.line !== null && isWritten) add(item.line, item.place);
      for (const arm of item.arms) walk(arm.items, isWritten);
    }
  };
  walk(shape?.items ?? [], shape?.is_native ?? false);
  for (const { line, node } of map) {
    const found = byNode.get(node) ?? [node];
    const text = lines[line - 1] ?? "";
    for (const place of found.length > 1 ? found.filter((one) => isNamed(text, one)) : found) add(line, place);
  }
  return { title, lines, language, places };
}

/** Whether a line of several arms names this one. */
function isNamed(text: string, place: string): boolean {
  const id = place.slice(place.lastIndexOf("/") + 1);
  return text.includes(JSON.stringify(id)) || new RegExp(`\\b${id.replace(/[^\w]/g, "_")}\\b`).test(text);
}

/** The lines of what the record is about; of the present, of what is open. */
function hotLines(model: CodeModel, page: Page, at: number): number[] {
  const { log } = model;
  const hot = new Set<string>();
  if (model.isLive.value) for (let index = Math.max(0, log.places.length - 5000); index < log.places.length; index++) {
    if (isOpen(log, index)) hot.add(log.places[index]!.path);
  }
  if (model.isLive.value && !hot.size && log.phaseOf(at) === "failed") {
    const failed = log.calls.findLast((one) => log.callStatus[one.index] === 8);
    if (failed) hot.add(log.places[failed.place]!.path);
  }
  if (!model.isLive.value) {
    const place = log.callOf(at)?.place ?? log.blockOf(at)?.place;
    if (place !== undefined) hot.add(log.places[place]!.path);
  }
  if (!hot.size) return [];
  const lines: number[] = [];
  for (const [line, places] of page.places) if (places.some((one) => hot.has(one)) && !/^\s*(\/\/|#)/.test(page.lines[line - 1] ?? "")) lines.push(line);
  return lines.sort((a, b) => a - b);
}

function isOpen(log: Log, place: number): boolean {
  for (let status = 0; status < 7; status++) if (log.items[place * 10 + status]) return true;
  return false;
}

const ORDER = ["running", "queued", "suspended", "retry", "waiting", "child", "away", "failed", "success", "canceled"];

function Line({ model, page, line, isHot, style }: { model: CodeModel; page: Page; line: number; isHot: boolean; style: RowStyle }): JSX.Element {
  const { log } = model;
  const places = page.places.get(line) ?? [];
  const statuses = places.map((one) => log.place(one)).map((one) => (one ? log.placeStatus(one.index) : "idle"));
  const status = ORDER.find((one) => statuses.includes(one as never)) ?? (places.length ? "idle" : "");
  const own = chosenPlace(model);
  const look = `${status} ${places.length && status === "idle" && log.count ? "todo" : ""} ${isHot ? "cur" : own !== null && places.includes(own) ? "sel" : ""}`;
  return <Text model={model} page={page} line={line} look={look} status={status} place={places[0] ?? ""} style={style} />;
}

interface TextProps {
  model: CodeModel;
  page: Page;
  line: number;
  look: string;
  status: string;
  place: string;
  style: RowStyle;
}

const Text = memo(
  ({ model, page, line, look, status, place, style }: TextProps): JSX.Element => {
    const text = page.lines[line - 1]!;
    const isComment = /^\s*(\/\/|#)/.test(text);
    const glyph = text.trim() && !isComment ? (GLYPHS[status] ?? "") : "";
    return (
      <div role="listitem" style={style}>
        <div class={`ln st ${isComment ? look.replace(/ sel$/, "") : look}`} data-line={line} onClick={() => place && model.select(place)}>
          <span class="n">{line}</span>
          <span class="g" title={status}>{glyph}</span>
          <span>{text.length > 2000 ? `${text.slice(0, 2000)}…` : painted(text, page.language)}</span>
        </div>
      </div>
    );
  },
);
