/** The scrubber: all records as ticks, and the one that is looked at. */

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { count } from "../clock";
import { theme } from "../theme";
import { Text } from "../ui/basic";
import type { RunModel } from "./model";
import { kindWords, TALL, toneOf, type Tone } from "./words";

const PAD = 4;

export function Scrub({ model }: { model: RunModel }): JSX.Element {
  const { at } = model.frame.value;
  const { log } = model;
  const isLive = model.isLive.value;
  const kind = log.kindOf(at);
  return (
    <section class="scrub" aria-label="Position in the log">
      <div class="keys">
        <Step label="First record" sign="⇤" title="Home" onClick={() => model.go(1)} />
        <Step label="One record back" sign="←" title="←" onClick={() => model.go(at - 1)} />
        <Step label="One record on" sign="→" title="→" onClick={() => model.go(at + 1)} />
        <Step label="Last record" sign="⇥" title="End" onClick={() => model.go(null)} />
      </div>
      <Track model={model} at={at} />
      <div class="at num">
        <span class="faint">record</span> <b>{count(at)}</b> <span class="faint">of {count(Math.max(log.count, model.total.value))}</span> <span class="kind">{kindWords(kind)}</span> <Text class="mono" of={log.pathOf(at)} />
      </div>
      <button type="button" class="live" aria-pressed={isLive} title="Follow the log (L)" onClick={() => model.go(null)}>
        LIVE
      </button>
    </section>
  );
}

function Step({ label, sign, title, onClick }: { label: string; sign: string; title: string; onClick: () => void }): JSX.Element {
  return (
    <button type="button" class="icon" aria-label={label} title={`${label} (${title})`} onClick={onClick}>
      {sign}
    </button>
  );
}

function Track({ model, at }: { model: RunModel; at: number }): JSX.Element {
  const track = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const { log } = model;
  const { version } = model.frame.value;
  const shade = theme.value;
  const selected = model.selected.value;
  useEffect(() => {
    const draw = (): void => void (canvas.current && paint(canvas.current, model));
    draw();
    const observer = new ResizeObserver(draw);
    observer.observe(track.current!);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", draw);
    return () => (observer.disconnect(), scheme.removeEventListener("change", draw));
  }, [version, shade, selected]);
  const where = useRef<DOMRect | null>(null);
  const drag = (event: PointerEvent): void => {
    const box = (where.current ??= track.current!.getBoundingClientRect());
    const part = (event.clientX - box.left - PAD) / Math.max(1, box.width - 2 * PAD);
    model.go(1 + Math.round(Math.max(0, Math.min(1, part)) * (log.count - 1)));
  };
  const part = log.count > 1 ? (at - 1) / (log.count - 1) : 1;
  const left = `calc(${PAD}px + ${part} * (100% - ${2 * PAD}px))`;
  return (
    <div
      class="track"
      ref={track}
      role="slider"
      tabIndex={0}
      aria-label="Record"
      aria-valuemin={1}
      aria-valuemax={Math.max(1, log.count)}
      aria-valuenow={Math.max(1, at)}
      aria-valuetext={`record ${at} of ${log.count}: ${kindWords(log.kindOf(at))} ${log.pathOf(at)}`}
      onPointerDown={(event) => {
        track.current!.setPointerCapture(event.pointerId);
        where.current = null; // while it is dragged it stays where it is
        drag(event);
      }}
      onPointerMove={(event) => {
        if (track.current!.hasPointerCapture(event.pointerId)) drag(event);
      }}
    >
      <canvas ref={canvas} aria-hidden="true" />
      <div class="later" style={{ left }} />
      <div class="head" style={{ left }} />
    </div>
  );
}

const ORDER: Tone[] = ["note", "out", "wait", "in", "sus", "bad"]; // of two at one pixel the later one is seen

function paint(canvas: HTMLCanvasElement, { log, selection }: RunModel): void {
  const ratio = devicePixelRatio || 1;
  const { clientWidth: wide, clientHeight: tall } = canvas;
  canvas.width = Math.max(1, wide * ratio);
  canvas.height = Math.max(1, tall * ratio);
  const context = canvas.getContext("2d")!;
  context.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  const inkOf = (name: string): string => ((canvas.style.color = `var(--${name})`), style.color); // of light and dark the one that holds
  const inks = ["queue", "run", "wait", "ok", "sus", "fail"].map(inkOf); // as in ORDER
  const across = wide - 2 * PAD;
  const columns = new Int8Array(Math.max(1, Math.ceil(wide))).fill(-1);
  const tick = Math.max(1, Math.min(3, across / Math.max(1, log.count) - 0.5));
  const rank = log.kinds.map((kind) => [ORDER.indexOf(toneOf(kind, false)), ORDER.indexOf(toneOf(kind, true))]);
  const byKind = new Map(log.kinds.map((kind, index) => [kind, rank[index]!]));
  for (let seq = 1; seq <= log.count; seq++) {
    const x = Math.round(PAD + ((seq - 1) / Math.max(1, log.count - 1)) * across);
    const found = byKind.get(log.kindOf(seq))!;
    const tone = log.factsOf(seq).error === undefined ? found[0]! : found[1]!;
    if (tone > columns[x]!) columns[x] = tone;
  }
  columns.forEach((tone, x) => {
    if (tone < 0) return;
    context.fillStyle = inks[tone]!;
    const high = TALL[ORDER[tone]!];
    context.fillRect(x - tick / 2, tall - 3 - high, tick, high);
  });
  const chosen = selection.peek();
  const calls = chosen?.call ? [chosen.call] : (chosen?.place?.calls.slice(0, 500).map((index) => log.calls[index]!) ?? []);
  context.fillStyle = inkOf("accent");
  for (const call of calls) for (const seq of call.seqs) context.fillRect(PAD + ((seq - 1) / Math.max(1, log.count - 1)) * across - 1, tall - 2, 2, 2);
}
