/** The source under glass, and the builder's calls beside it, each with the line that runs. */

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { Pane } from "../ui/parts";
import { media } from "../ui/media";
import { Rows, type RowStyle } from "../ui/rows";
import { painted } from "../ui/source";
import { memo } from "../pages/memo";
import type { Log } from "./fold";
import type { RunModel, Shape, ShapeItem } from "./model";

interface Page {
  lines: string[];
  language: string;
  /** By line, from 1: the places of what stands there. */
  places: Map<number, string[]>;
}

const GLYPHS: Record<string, string> = { success: "✓", running: "●", queued: "●", away: "●", suspended: "◆", waiting: "◷", retry: "↻", child: "◷", failed: "✕", canceled: "–" };

const isWide = media("(min-width: 1400px)"); // both sources have room beside each other

export function Code({ model }: { model: RunModel }): JSX.Element {
  const [isBuilder, setBuilder] = useState(false);
  const source = model.source.value;
  const shape = model.shape.value;
  const glass = useMemo<Page | null>(() => source && pageOf(source.code, source.language, source.map, shape), [source, shape]);
  const builder = useMemo<Page | null>(() => (shape?.builder ? pageOf(shape.builder.code, "python", shape.builder.map, shape) : null), [shape]);
  if (builder && isWide.value)
    return (
      <div class="pair">
        <Listed model={model} page={glass} label={GLASS} head={<h2>{GLASS}</h2>} />
        <Listed model={model} page={builder} label={BUILDER} head={<h2>{BUILDER}</h2>} />
      </div>
    );
  const isOn = isBuilder && builder !== null;
  const tabs = (
    <div class="tabs" role="tablist" aria-label="Which source">
      <Tab label={GLASS} isOn={!isOn} onClick={() => setBuilder(false)} />
      {builder && <Tab label={BUILDER} isOn={isOn} onClick={() => setBuilder(true)} />}
    </div>
  );
  return <Listed key={isOn} model={model} page={isOn ? builder : glass} label="Source" head={tabs} isPanel />;
}

const GLASS = "Under glass";
const BUILDER = "Builder";

/** One source, with the line that runs in sight. */
function Listed({ model, page, label, head, isPanel }: { model: RunModel; page: Page | null; label: string; head: JSX.Element; isPanel?: boolean }): JSX.Element {
  const { at } = model.frame.value;
  const hot = page ? hotLines(model, page, at) : [];
  const chosen = chosenPlace(model);
  const near = useMemo(() => (page && chosen ? Math.min(...[...page.places].filter(([, places]) => places.includes(chosen)).map(([line]) => line)) : Infinity), [page, chosen]);
  const cursor = Number.isFinite(near) ? near : (hot[0] ?? 0);
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
function chosenPlace({ log, selection }: RunModel): string | null {
  const chosen = selection.value;
  return chosen?.place?.path ?? (chosen?.call ? log.places[chosen.call.place]!.path : null);
}

function Tab({ label, isOn, onClick }: { label: string; isOn: boolean; onClick: () => void }): JSX.Element {
  return (
    <button type="button" role="tab" aria-selected={isOn} onClick={onClick}>
      {label}
    </button>
  );
}

/** The lines, with the places of the node of each; of native source with those of the calls that stand there. */
function pageOf(code: string, language: string, map: { line: number; node: string }[], shape: Shape | null): Page {
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
  return { lines, language, places };
}

/** Whether a line of several arms names this one. */
function isNamed(text: string, place: string): boolean {
  const id = place.slice(place.lastIndexOf("/") + 1);
  return text.includes(JSON.stringify(id)) || new RegExp(`\\b${id.replace(/[^\w]/g, "_")}\\b`).test(text);
}

/** The lines of what the record is about; of the present, of what is open. */
function hotLines(model: RunModel, page: Page, at: number): number[] {
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

function Line({ model, page, line, isHot, style }: { model: RunModel; page: Page; line: number; isHot: boolean; style: RowStyle }): JSX.Element {
  const { log } = model;
  const places = page.places.get(line) ?? [];
  const statuses = places.map((one) => log.place(one)).map((one) => (one ? log.placeStatus(one.index) : "idle"));
  const status = ORDER.find((one) => statuses.includes(one as never)) ?? (places.length ? "idle" : "");
  const own = chosenPlace(model);
  const look = `${status} ${places.length && status === "idle" ? "todo" : ""} ${isHot ? "cur" : own !== null && places.includes(own) ? "sel" : ""}`;
  return <Text model={model} page={page} line={line} look={look} status={status} place={places[0] ?? ""} style={style} />;
}

interface TextProps {
  model: RunModel;
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
  (a, b) => a.page === b.page && a.line === b.line && a.look === b.look && a.style.transform === b.style.transform,
);
