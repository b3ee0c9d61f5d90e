/** What a run waits for, as a form: the answer of a step, the payload of an event; with its copies as curl, Python and CLI. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ask, path } from "../api/client";
import type { Action, Asked, Json, Why } from "../api/models";
import { curl, literal, shell } from "./copies";
import { Copy, Kbd, Text, visible } from "./basic";
import { ValueForm } from "./form";
import { useSubmit, Wrong } from "./parts";
import { toast } from "./toast";

export const answersIn = (why: Why): Action[] => why.actions.filter((one) => one.name === "resume" || one.name === "event");

/** Where an action of a run is: its link stands below `runs/ID/`. */
export function placeOf(run: string, href: string): string {
  if (href === ".") return path("runs", run);
  if (href.startsWith("../")) return `runs/${href.slice(3)}`;
  const at = href.indexOf("/");
  return `${path("runs", run)}/${at < 0 ? href : `${href.slice(0, at + 1)}${encodeURIComponent(href.slice(at + 1))}`}`;
}

export function Answer({ run, why, mine, onDone }: { run: string; why: Why; mine: boolean; onDone: () => void }): JSX.Element {
  const answers = answersIn(why);
  const [at, setAt] = useState(0);
  const action = answers[at] ?? answers[0]!;
  const asked: Asked | undefined = why.asked.length === answers.length ? why.asked[answers.indexOf(action)] : why.asked[0];
  const isEvent = action.name === "event";
  const [value, setValue] = useState<Json | undefined>();
  const [isOk, setOk] = useState(true);
  const isContinue = !isEvent && asked === undefined; // of a run that goes one entry at a time, or was paused
  const body = (): Record<string, Json> => (isContinue ? {} : isEvent ? { payload: value ?? null } : { data: value ?? null, ...(asked?.step && answers.length > 1 ? { step: asked.step } : {}) });
  const { isBusy, mistakes, problem, submit } = useSubmit(async (token) => {
    // A worker judges an answer: it is waited for.
    await ask(placeOf(run, action.href), { method: action.method, body: body(), headers: { "Idempotency-Key": token, Prefer: "wait=5" } });
    toast(isEvent ? `${run} was sent the event` : `${run} was resumed`);
    onDone();
  });
  const title = question(asked?.payload) || (isEvent ? `Send the event ${asked?.event ?? ""}` : isContinue ? "Let it go on" : `Answer ${asked?.step ?? ""}`);
  return (
    <form class="actform" onSubmit={submit}>
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
        <Copies run={run} of={action} body={body} value={value} />
      </div>
    </form>
  );
}

export function Copies({ run, of, body, value }: { run: string; of: Action; body: () => Record<string, Json>; value?: Json | undefined }): JSX.Element {
  const given = JSON.stringify(value ?? null);
  return (
    <span class="as">
      or copy as{" "}
      {of.method && <><Copy what="curl" text={() => curl(of.method, placeOf(run, of.href), body())}>curl</Copy> · </>}
      <Copy what="Python" text={() => of.call.replace("…", literal(value ?? null))}>Python</Copy> · <Copy what="the command" text={() => of.command.replace("--data JSON", `--data ${shell(given)}`)}>CLI</Copy>
    </span>
  );
}

/** A text in what a step asks with that reads like a question. */
export function question(payload: unknown): string {
  if (typeof payload === "string") return payload.slice(0, 200);
  if (!payload || typeof payload !== "object") return "";
  for (const name of ["question", "reason", "message", "title", "prompt"]) {
    const found = (payload as Record<string, unknown>)[name];
    if (typeof found === "string") return visible(found.slice(0, 200));
  }
  return "";
}
