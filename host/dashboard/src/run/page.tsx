/** The page of one run. One state, `{seq, step}`, stands in the address; all else is a function of the log and of it. */

import type { JSX } from "preact";
import { useLayoutEffect, useMemo } from "preact/hooks";
import { useKeys } from "../keys";
import { link } from "../router";
import { ActPanel } from "./act-panel";
import { Code } from "./code";
import { Graph } from "./graph";
import { Head } from "./head";
import { Inspector } from "./inspector";
import { RunModel } from "./model";
import { isMine, Records } from "./records";
import { rowsOf } from "./rows";
import { Scrub } from "./scrub";
import { Timeline } from "./timeline";

export function RunPage({ id }: { id: string }): JSX.Element {
  const model = useMemo(() => new RunModel(id), [id]);
  useLayoutEffect(() => {
    void model.load(); // before the frame is painted
    return () => model.close();
  }, [model]);
  const problem = model.problem.value;
  if (problem) {
    return (
      <main class="scroll page">
        <div class="lede">
          <h1>{problem.message}</h1>
          <p>{problem.whatToDo} <a class="textlink" href={link("runs")}>All runs</a></p>
        </div>
      </main>
    );
  }
  return <Whole model={model} />;
}

function Whole({ model }: { model: RunModel }): JSX.Element {
  const { log } = model;
  const { version } = model.frame.value;
  const opened = model.opened.value;
  const rows = useMemo(() => rowsOf(log, opened), [opened, log.calls.length, log.places.length, log.calls.length > 3000 ? 0 : version]);
  const step = (by: number): void => {
    const selection = model.selection.peek();
    const at = selection ? rows.findIndex((row) => (selection.call ? row.call === selection.call.index : row.place === selection.place && row.call === null)) : by > 0 ? -1 : 0;
    const row = rows[(at + by + rows.length) % Math.max(1, rows.length)];
    if (row) model.select(row.call === null ? row.place.path : log.calls[row.call]!.path);
  };
  const own = (by: number): void => {
    const at = model.frame.peek().at;
    for (let seq = at + by; seq >= 1 && seq <= log.count; seq += by) if (isMine(model, seq)) return model.go(seq);
  };
  useKeys("This run", [
    { keys: "ArrowLeft", label: "one record back", run: () => model.go(model.frame.peek().at - 1) },
    { keys: "ArrowRight", label: "one record on", run: () => model.go(model.frame.peek().at + 1) },
    { keys: "Shift+ArrowLeft", label: "to the record before of what is selected", run: () => own(-1) },
    { keys: "Shift+ArrowRight", label: "to the next record of what is selected", run: () => own(1) },
    { keys: "PageUp", label: "a hundredth of the log back", run: () => model.go(model.frame.peek().at - Math.ceil(log.count / 100)) },
    { keys: "PageDown", label: "a hundredth of the log on", run: () => model.go(model.frame.peek().at + Math.ceil(log.count / 100)) },
    { keys: "Home", label: "first record", run: () => model.go(1) },
    { keys: "End", label: "last record", run: () => model.go(null) },
    { keys: "j", label: "next step", run: () => step(1) },
    { keys: "k", label: "step before", run: () => step(-1) },
    { keys: "l", label: "follow the log", run: () => model.go(null) },
    { keys: "Escape", label: "nothing selected", run: () => model.select(null) },
  ]);
  return (
    <main class={`run ${model.isLive.value ? "" : "past"}`}>
      <section class="why" aria-label="Why it is not moving">
        <Head model={model} />
        <ActPanel model={model} />
      </section>
      <Scrub model={model} />
      <div class="panes">
        <div class="col"><Graph model={model} /></div>
        <div class="col mid" style={{ "--rows": `${rows.length * 21 + 60}px` }}>
          <Timeline model={model} rows={rows} />
          <Records model={model} />
        </div>
        <div class="col right">
          <Code model={model} />
          <Inspector model={model} />
        </div>
      </div>
    </main>
  );
}
