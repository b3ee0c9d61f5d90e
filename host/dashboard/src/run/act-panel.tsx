/** What moves the run, beside the sentence: a form, a button, or a command; each can be copied as curl, Python and CLI. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, key, path, Problem } from "../api/client";
import type { Action, Asked, Json, Why } from "../api/models";
import { count } from "../clock";
import { curl, literal, shell } from "./copies";
import { go, link } from "../router";
import { may } from "../session";
import { ActDialog, type Act } from "../ui/act";
import { Copy, copy, Kbd, Text } from "../ui/basic";
import { ValueForm } from "../ui/form";
import { useSubmit, Wrong } from "../ui/parts";
import { toast, toastError } from "../ui/toast";
import { question } from "./head";
import type { RunModel } from "./model";
import { useKeys } from "../keys";

export function ActPanel({ model }: { model: RunModel }): JSX.Element | null {
  const why = model.why.value;
  const isLive = model.isLive.value;
  const status = model.run.value?.status ?? "";
  if (!isLive) return <ThePast model={model} />;
  if (why === null) return <div class="act" />;
  return (
    <div class={`act st ${status}`}>
      <Moves model={model} why={why} />
    </div>
  );
}

function ThePast({ model }: { model: RunModel }): JSX.Element {
  return (
    <div class="act then">
      <div class="form">
        <div class="q">
          <span>You look at the past</span>
          <span class="mono">record {count(model.frame.value.at)}</span>
        </div>
        <p>Everything on this page is as the log had it then: graph, bars, code, values.</p>
        <div class="end">
          <button type="button" class="btn main" onClick={() => model.go(null)}>
            Back to the present
            <Kbd of="l" />
          </button>
          <Again model={model} />
        </div>
      </div>
    </div>
  );
}

/** Take the run up again, in a new one, from the call that is selected or that the record is about. */
export function Again({ model, isSmall = false }: { model: RunModel; isSmall?: boolean }): JSX.Element | null {
  const [isBusy, setBusy] = useState(false);
  const call = model.selection.value?.call ?? model.log.callOf(model.frame.value.at) ?? null;
  if (!may("operator")) return null;
  const at = call?.kind === "step" ? call.path : null;
  const fork = async (): Promise<void> => {
    setBusy(true);
    try {
      const made = await ask<{ id: string }>(`${path("runs", model.id)}/fork`, { method: "POST", body: { at } });
      toast(`A new run goes on from ${at}`, "good", link("runs", made.id));
      go(link("runs", made.id));
    } catch (error) {
      toastError(error instanceof Problem && error.status === 404 ? new Error(`Here is no worker: cloche fork ${model.id} --at ${at}`) : error);
    }
    setBusy(false);
  };
  return (
    <button type="button" class={`btn ${isSmall ? "small" : ""}`} disabled={at === null || isBusy} title={at === null ? "Select a step: a new run begins there, with what came before" : `A new run with all that came before the call of ${at}`} onClick={fork}>
      Run again from here
    </button>
  );
}

function Moves({ model, why }: { model: RunModel; why: Why }): JSX.Element {
  const [dialog, setDialog] = useState<Act | null>(null);
  const mine = may("operator");
  const answers = why.actions.filter((one) => one.name === "resume" || one.name === "event");
  const rest = why.actions.filter((one) => !answers.includes(one));
  const first = answers.length ? null : rest.find((one) => one.name !== "cancel" && one.name !== "delete");
  const others = rest.filter((one) => one !== first && (one.name !== "delete" || may("admin")));
  useKeys("This run", [{ keys: "r", label: "answer it, or do what moves it", run: focusOn }]);
  return (
    <div class="form" aria-label="What moves it">
      {!mine && (answers.length > 0 || first) && <p class="faint">You may look, and not move it: that takes the role operator.</p>}
      {answers.length > 0 && <Answer key={answers.map((one) => one.href + one.description).join()} model={model} why={why} answers={answers} mine={mine} />}
      {first && <One model={model} of={first} mine={mine} />}
      {!answers.length && !first && <Nothing model={model} />}
      {why.on_its_way.length > 0 && <p class="faint">On its way: {why.on_its_way.join(", ")}</p>}
      {mine && others.length > 0 && (
        <div class="others">
          {others.map((one) => (
            <span key={one.name + one.href}>
              {one.method && (one.name === "cancel" || one.name === "delete") ? (
                <button type="button" class="btn small" onClick={() => setDialog(one.name as Act)}>{one.description}</button>
              ) : (
                <Copy text={() => one.command} what="the command">{one.description}</Copy>
              )}
            </span>
          ))}
        </div>
      )}
      {dialog && <ActDialog run={model.id} act={dialog} onClose={() => (setDialog(null), model.askSoon())} />}
    </div>
  );
}

/** The first field, or the button, of what moves the run. */
function focusOn(): void {
  document.querySelector<HTMLElement>(".act input, .act select, .act textarea, .act .seg:not(.as) button, .act .btn.main")?.focus();
}

/** What a run that nothing moves gives: its result. */
function Nothing({ model }: { model: RunModel }): JSX.Element {
  const { log } = model;
  const children = model.why.value?.children ?? [];
  if (children.length) {
    return (
      <>
        <div class="q"><span>It waits for a child run</span></div>
        <p>{children.slice(0, 4).map((id) => <a key={id} class="mono" href={link("runs", id)}><bdi>{id.replaceAll("\u001f", " › ")}</bdi></a>)}</p>
      </>
    );
  }
  const text = log.kindOf(log.count) === "run_completed" ? model.texts.get(log.count) : undefined;
  return (
    <>
      <div class="q"><span>{text === undefined ? "Nothing has to be done" : "Result"}</span></div>
      {text !== undefined && <pre class="result" tabIndex={0}><bdi>{text}</bdi></pre>}
    </>
  );
}

function placeOf(run: string, href: string): string {
  if (href === ".") return path("runs", run);
  if (href.startsWith("../")) return `runs/${href.slice(3)}`;
  const at = href.indexOf("/");
  return `${path("runs", run)}/${at < 0 ? href : `${href.slice(0, at + 1)}${encodeURIComponent(href.slice(at + 1))}`}`;
}

function Answer({ model, why, answers, mine }: { model: RunModel; why: Why; answers: Action[]; mine: boolean }): JSX.Element {
  const [at, setAt] = useState(0);
  const action = answers[at] ?? answers[0]!;
  const asked: Asked | undefined = why.asked.length === answers.length ? why.asked[answers.indexOf(action)] : why.asked[0];
  const isEvent = action.name === "event";
  const [value, setValue] = useState<Json | undefined>();
  const [isOk, setOk] = useState(true);
  const isContinue = !isEvent && asked === undefined; // of a run that goes one entry at a time
  const body = (): Record<string, Json> => (isContinue ? {} : isEvent ? { payload: value ?? null } : { data: value ?? null, ...(asked?.step && answers.length > 1 ? { step: asked.step } : {}) });
  const { isBusy, mistakes, problem, submit } = useSubmit(async (token) => {
    await ask(placeOf(model.id, action.href), { method: action.method, body: body(), headers: { "Idempotency-Key": token } });
    toast(isEvent ? "The event was sent" : "It was resumed");
    model.askSoon();
  });
  const title = question(asked?.payload) || (isEvent ? `Send the event ${asked?.event ?? ""}` : isContinue ? "Let it go on" : `Answer ${asked?.step ?? ""}`);
  return (
    <form onSubmit={submit}>
      <div class="q">
        <Text of={title} />
        <span class="mono"><bdi>{[asked?.step, ...(asked?.labels ?? [])].filter(Boolean).join(" · ")}</bdi></span>
      </div>
      {answers.length > 1 && (
        <div class="row">
          <label for="which">What is answered</label>
          <select id="which" value={String(at)} onChange={(event) => setAt(Number(event.currentTarget.value))}>
            {answers.map((one, index) => <option key={index} value={String(index)}>{one.description}</option>)}
          </select>
        </div>
      )}
      {!isContinue && <ValueForm key={at} schema={asked?.schema ?? null} label={isEvent ? "Payload" : "Answer"} mistakes={mistakes} onChange={(next, ok) => (setValue(next), setOk(ok))} />}
      <Wrong>{problem}</Wrong>
      <div class="end">
        <button class="btn main" type="submit" disabled={!mine || !isOk || isBusy}>
          {isEvent ? "Send" : "Resume"}
          <Kbd of="r" />
        </button>
        <Copies model={model} of={action} body={body} value={value} />
      </div>
    </form>
  );
}

function Copies({ model, of, body, value }: { model: RunModel; of: Action; body: () => Record<string, Json>; value?: Json | undefined }): JSX.Element {
  const given = JSON.stringify(value ?? null);
  return (
    <span class="as">
      or copy as{" "}
      {of.method && <><Copy what="curl" text={() => curl(of.method, placeOf(model.id, of.href), body())}>curl</Copy> · </>}
      <Copy what="Python" text={() => of.call.replace("…", literal(value ?? null))}>Python</Copy> · <Copy what="the command" text={() => of.command.replace("--data JSON", `--data ${shell(given)}`)}>CLI</Copy>
    </span>
  );
}

/** One thing that is done by a press of a button; where HTTP has none, its command. */
function One({ model, of, mine }: { model: RunModel; of: Action; mine: boolean }): JSX.Element {
  const [isBusy, setBusy] = useState(false);
  const token = useRef(key());
  useEffect(() => void (token.current = key()), [of.href]);
  const act = async (): Promise<void> => {
    setBusy(true);
    try {
      const made = await ask<{ id?: string }>(placeOf(model.id, of.href), { method: of.method, body: {}, headers: { "Idempotency-Key": token.current } });
      toast(of.description, "good", made?.id && made.id !== model.id ? link("runs", made.id) : undefined);
      if (made?.id && made.id !== model.id) go(link("runs", made.id));
      else model.askSoon();
    } catch (error) {
      toastError(error);
    }
    setBusy(false);
  };
  const label = { retry: "Retry", "start-worker": "Copy the command", upgrade: "Copy the command" }[of.name] ?? of.name;
  return (
    <>
      <div class="q"><span>{of.description}</span></div>
      {!of.method && <pre class="result" tabIndex={0}>{of.command}</pre>}
      <div class="end">
        <button type="button" class="btn main" disabled={!!of.method && (!mine || isBusy)} onClick={() => (of.method ? act() : copy(of.command, "the command"))}>
          {label}
          <Kbd of="r" />
        </button>
        <Copies model={model} of={of} body={() => ({})} />
      </div>
    </>
  );
}
