/** What moves a run, as a dialog: answer a step, send an event, retry, cancel, delete. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ask, path, textOf } from "../api/client";
import type { Asked, Json, Why } from "../api/models";
import { link } from "../router";
import { Dialog } from "./dialog";
import { Payload } from "./payload";
import { ValueForm } from "./form";
import { useSubmit, Wrong } from "./parts";
import { toast } from "./toast";

export type Act = "resume" | "event" | "retry" | "cancel" | "delete";

export const ACTS: Record<Act, { button: string; title: string; done: string }> = {
  resume: { button: "Resume", title: "Answer", done: "was resumed" },
  event: { button: "Send", title: "Send an event to", done: "was sent the event" },
  retry: { button: "Retry", title: "Retry", done: "goes on in a new run" },
  cancel: { button: "Cancel the run", title: "Cancel", done: "is being canceled" },
  delete: { button: "Delete for good", title: "Delete", done: "was deleted" },
};

export function ActDialog({ run, act, onClose }: { run: string; act: Act; onClose: () => void }): JSX.Element {
  const [why, setWhy] = useState<Why | null>(null);
  const [problem, setProblem] = useState<string>("");
  const needsWhy = act === "resume" || act === "event";
  useEffect(() => {
    if (needsWhy) ask<Why>(`runs/${path(run)}/why`).then(setWhy, (error) => setProblem(textOf(error)));
  }, []);
  return (
    <Dialog title={`${ACTS[act].title} ${run}`} kind="side" onClose={onClose}>
      <Wrong>{problem}</Wrong>
      {(!needsWhy || why) && <ActForm run={run} act={act} asked={why?.asked ?? []} onDone={onClose} />}
    </Dialog>
  );
}

/** The form itself, for a page that has room for it. `asked`: what the run waits for, as `why` has it. */
export function ActForm({ run, act, asked, onDone }: { run: string; act: Act; asked: readonly Asked[]; onDone: () => void }): JSX.Element {
  const fitting = asked.filter((one) => (act === "event") === (one.event !== null));
  const [at, setAt] = useState(0);
  const one = fitting[at];
  const [name, setName] = useState(one?.event ?? "");
  const [value, setValue] = useState<Json | undefined>();
  const [isOk, setOk] = useState(true);
  const { isBusy, mistakes, problem, submit } = useSubmit(async (token) => {
    const made = await request(act, run, one, name, value, token);
    const href = made ? link("runs", made) : act === "delete" ? undefined : link("runs", run);
    toast(`${run} ${ACTS[act].done}`, "good", href);
    onDone();
  });
  const takesValue = act === "resume" || act === "event";
  return (
    <form class="actform" onSubmit={submit}>
      {fitting.length > 1 && <Which of={fitting} at={at} onChange={setAt} />}
      {act === "event" && !one && (
        <div class="row">
          <label for="event-name">Event</label>
          <input id="event-name" required value={name} onInput={(event) => setName(event.currentTarget.value)} />
        </div>
      )}
      {one && one.payload !== null && act === "resume" && <Payload value={one.payload} label="It asks" />}
      {takesValue && (
        <ValueForm
          key={at}
          schema={one?.schema ?? null}
          label={act === "event" ? "Payload" : "Answer"}
          mistakes={mistakes}
          onChange={(next, ok) => {
            setValue(next);
            setOk(ok);
          }}
        />
      )}
      {act === "retry" && <p class="dim">A new run goes on after the last step that succeeded; what was done is not done again.</p>}
      {act === "cancel" && <p class="dim">Its open steps are told to stop, and its clean-up runs. This cannot be undone.</p>}
      {act === "delete" && <p class="dim">Its records are gone for good; its id stays taken.</p>}
      <Wrong>{problem}</Wrong>
      <div class="end">
        <button class={`btn main ${act === "cancel" || act === "delete" ? "danger" : ""}`} type="submit" disabled={!isOk || isBusy}>
          {ACTS[act].button}
        </button>
      </div>
    </form>
  );
}

function Which({ of, at, onChange }: { of: readonly Asked[]; at: number; onChange: (at: number) => void }): JSX.Element {
  return (
    <div class="row">
      <label for="which-asked">What it waits for</label>
      <select id="which-asked" value={String(at)} onChange={(event) => onChange(Number(event.currentTarget.value))}>
        {of.map((one, index) => (
          <option value={String(index)}>{one.event ? `the event ${one.event}` : [one.step, ...one.labels].join(" · ")}</option>
        ))}
      </select>
    </div>
  );
}

async function request(act: Act, run: string, one: Asked | undefined, name: string, value: Json | undefined, token: string): Promise<string | null> {
  const place = `runs/${path(run)}`;
  const headers = { "Idempotency-Key": token, Prefer: "wait=5" }; // a worker judges an answer: it is waited for
  if (act === "delete") await ask(place, { method: "DELETE" });
  else if (act === "cancel") await ask(`${place}/cancel`, { method: "POST", body: {}, headers });
  else if (act === "retry") return (await ask<{ id: string }>(`${place}/retry`, { method: "POST", body: {}, headers })).id;
  else if (act === "event") {
    const event = one?.event ?? name;
    await ask(`${place}/events/${path(event)}`, { method: "POST", body: { payload: value ?? null }, headers });
  } else {
    const target = one?.step ? { step: one.step } : {};
    await ask(`${place}/resume`, { method: "POST", body: { data: value ?? null, ...target }, headers });
  }
  return null;
}
