/** What moves the run, beside the sentence: a form, a button, or a command; each can be copied as curl, Python and CLI. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, key, path, Problem } from "../api/client";
import type { Action, Why } from "../api/models";
import { count } from "../clock";
import { go, link } from "../router";
import { may } from "../session";
import { ActDialog, type Act } from "../ui/act";
import { Answer, answersIn, Copies, placeOf } from "../ui/answer";
import { Copy, copy, Kbd, visible } from "../ui/basic";
import { toast, toastError } from "../ui/toast";
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
  const call = model.meant();
  if (!may("operator")) return null;
  const at = call?.kind === "step" ? call.path : null;
  const fork = async (): Promise<void> => {
    setBusy(true);
    try {
      const made = await ask<{ id: string }>(`${path("runs", model.id)}/fork`, { method: "POST", body: { at } });
      toast(`A new run goes on from ${at}`);
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
  const answers = answersIn(why);
  const rest = why.actions.filter((one) => !answers.includes(one));
  const first = answers.length ? null : rest.find((one) => one.name !== "cancel" && one.name !== "delete");
  const others = rest.filter((one) => one !== first && (one.name !== "delete" || may("admin")));
  useKeys("This run", [{ keys: "r", label: "answer it, or do what moves it", run: focusOn }]);
  return (
    <div class="form" aria-label="What moves it">
      {!mine && (answers.length > 0 || first) && <p class="faint">You may look, and not move it: that takes the role operator.</p>}
      {answers.length > 0 && <Answer key={answers.map((one) => one.href + one.description).join()} run={model.id} why={why} mine={mine} onDone={() => model.askSoon()} />}
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

/** One thing that is done by a press of a button; where HTTP has none, its command. */
function One({ model, of, mine }: { model: RunModel; of: Action; mine: boolean }): JSX.Element {
  const [isBusy, setBusy] = useState(false);
  const token = useRef(key());
  useEffect(() => void (token.current = key()), [of.href]);
  const act = async (): Promise<void> => {
    setBusy(true);
    try {
      const made = await ask<{ id?: string }>(placeOf(model.id, of.href), { method: of.method, body: {}, headers: { "Idempotency-Key": token.current } });
      const isNew = made?.id !== undefined && made.id !== model.id;
      toast(isNew ? `${model.id} goes on as ${visible(made.id!)}` : of.description);
      if (isNew) go(link("runs", made.id!));
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
        <Copies run={model.id} of={of} body={() => ({})} />
      </div>
    </>
  );
}
