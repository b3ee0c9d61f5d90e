/** One workflow: its versions, its graph, both sources, and whether the open runs would fit what starts now. */

import type { JSX } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { ask, path, Problem, query, textOf } from "../api/client";
import type { CheckOut, Code as CodeOut, Version } from "../api/models";
import { plural } from "../clock";
import { useKeys } from "../keys";
import { go, link, place, setQuery } from "../router";
import { may } from "../session";
import { At, Pill, Text } from "../ui/basic";
import { useLoad } from "../ui/load";
import { Pane, Wrong } from "../ui/parts";
import { Code } from "../run/code";
import { CodeModel, type Shape } from "../run/code-model";
import { Graph } from "../run/graph";

const LANGUAGES: Record<string, string> = { javascript: "The same in JavaScript", python: "The same in Python" };

export function WorkflowPage({ id }: { id: string }): JSX.Element {
  const version = place.value.query.get("version");
  const self = `workflows/${path(id)}`;
  const { value: code, problem } = useLoad<CodeOut>(`${self}/code${query({ version })}`);
  const { value: shape } = useLoad<Shape>(`${self}/shape${query({ version })}`);
  const model = useMemo(() => new CodeModel(), [id, version]);
  useEffect(() => {
    model.shape.value = shape;
    model.source.value = code?.sources[0] ?? null;
  }, [model, shape, code]);
  const others = useMemo(() => code?.sources.slice(1).map((one) => ({ ...one, title: LANGUAGES[one.language] ?? one.language })), [code]);
  const { value: known } = useLoad<{ versions: Version[] }>(`${self}/versions`, 10_000);
  const versions = known?.versions ?? [];
  useKeys("Workflow", [
    { keys: "n", label: "start a run of it", run: () => may("operator") && go(link("runs", { start: id })) },
    { keys: "r", label: "its runs", run: () => go(link("runs", { q: `workflow:${id}` })) },
    { keys: "Escape", label: "all workflows", run: () => go(link("workflows")) },
  ]);
  return (
    <main class="page">
      <header class="lede">
        <h1>
          <a class="up" href={link("workflows")}>
            Workflows
          </a>{" "}
          <Text of={id} />
        </h1>
        <p>{code ? startsWith(code) : problem || " "}</p>
        <div class="facts acts">
          <a class="btn" href={link("runs", { q: `workflow:${id}` })}>
            Its runs
          </a>
          {may("operator") && (
            <a class="btn main" href={link("runs", { start: id })}>
              Start a run
            </a>
          )}
        </div>
      </header>
      <div class="panes three">
        <div class="col">
          <Graph model={model} />
        </div>
        <div class="col">
          <Code model={model} {...(others && { more: others })} />
        </div>
        <div class="col right">
          <Versions id={id} versions={versions} chosen={version} />
          {may("operator") && <Check id={id} version={version} />}
        </div>
      </div>
    </main>
  );
}

function startsWith(code: CodeOut): string {
  const from = code.is_deployed ? "which the tenant has deployed" : "from a worker's file";
  return code.sources[0] ? `Runs begin with the code ${(code.digest ?? code.sources[0].digest).slice(0, 10)}, ${from}.` : "No source of it is known here.";
}

function Versions({ id, versions, chosen }: { id: string; versions: readonly Version[]; chosen: string | null }): JSX.Element {
  return (
    <Pane label="Versions" head={<span class="faint">{versions.length || "none was deployed"}</span>}>
        <ul class="versions">
          {versions.map((one, index) => (
            <li key={one.id} class={one.id === chosen || (chosen === null && index === 0) ? "cur" : ""}>
              <button type="button" class="textlink mono" aria-pressed={one.id === chosen} onClick={() => setQuery({ version: one.id === chosen ? null : one.id }, true)}>
                <Text of={one.id} />
              </button>
              <span class="faint">
                <At at={one.deployed_at} />
                {index === 0 && " · new runs take it"}
              </span>
              <a class="btn small" href={link("runs", { q: `workflow:${id} version:${one.id}` })}>
                Runs
              </a>
            </li>
          ))}
        </ul>
        {versions.length === 0 && <p class="pad dim">It comes from a worker's file. What its code is, each run keeps.</p>}
      </Pane>
  );
}

/** Would open runs fit what starts now? Each is replayed against it, a page of them at a time. */
function Check({ id, version }: { id: string; version: string | null }): JSX.Element {
  const [found, setFound] = useState<CheckOut | null>(null);
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  useEffect(() => setFound(null), [id, version]);
  const check = async (): Promise<void> => {
    setBusy(true);
    setProblem("");
    let all: CheckOut | null = null;
    try {
      for (let page = 0; page < 50; page++) {
        const more: CheckOut = await ask<CheckOut>(`workflows/${path(id)}/check`, { method: "POST", body: { version, ...(all?.next ? { after: all.next } : {}) } });
        all = all ? { ...more, checked: all.checked + more.checked, fits: all.fits + more.fits, parts: all.parts + more.parts, current: all.current + more.current, runs: [...all.runs, ...more.runs] } : more;
        setFound(all);
        if (more.next === null) break;
      }
    } catch (error) {
      setProblem(error instanceof Problem && (error.status === 404 || error.status === 405) ? "This server executes nothing: cloche check TARGET tells it where a worker's files are." : textOf(error));
    }
    setBusy(false);
  };
  return (
    <Pane label="Would open runs fit?" head={<><span class="grow" />
        <button type="button" class="btn small" disabled={isBusy} onClick={() => void check()}>
          {isBusy ? "checking…" : "Check"}
        </button></>} class="pad" body={{ "aria-live": "polite" }}>
        {!found && !problem && <p class="dim">Each open run is replayed against {version ? "this version" : "the code that new runs take"}: nothing is changed.</p>}
        <Wrong>{problem}</Wrong>
        {found && (
          <p class="strong">
            {found.checked === 0 ? "No run of it is open." : `${plural(found.fits, "run")} would fit, ${found.parts} would not; ${found.current} have this code already.`}
          </p>
        )}
        <ul class="versions">
          {found?.runs
            .filter((one) => !one.fits)
            .map((one) => (
              <li key={one.run_id}>
                <a class="mono" href={link("runs", one.run_id, { seq: one.seq })}>
                  <Text of={one.run_id} />
                </a>
                <Pill status={one.status} />
                <Text class="mistake" of={one.problem ?? "it parts"} />
              </li>
            ))}
        </ul>
      </Pane>
  );
}
