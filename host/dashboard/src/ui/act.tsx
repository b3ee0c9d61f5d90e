/** What moves a run, as a dialog: answer a step, send an event, retry, cancel, delete. */

import type { JSX } from "preact";
import { ask, path } from "../api/client";
import type { Why } from "../api/models";
import { link } from "../router";
import { Answer, answersIn } from "./answer";
import { Dialog } from "./dialog";
import { useLoad } from "./load";
import { Payload } from "./payload";
import { useSubmit, Wrong } from "./parts";
import { toast } from "./toast";

export type Act = "resume" | "event" | "retry" | "cancel" | "delete";

interface Words {
  title: string;
  /** Of what only has to be said yes to. */
  button?: string;
  about?: string;
  done?: string;
}

const ACTS: Record<Act, Words> = {
  resume: { title: "Answer" },
  event: { title: "Send an event to" },
  retry: { button: "Retry", title: "Retry", about: "A new run goes on after the last step that succeeded; what was done is not done again.", done: "goes on in a new run" },
  cancel: { button: "Cancel the run", title: "Cancel", about: "Its open steps are told to stop, and its clean-up runs. This cannot be undone.", done: "is being canceled" },
  delete: { button: "Delete for good", title: "Delete", about: "Its records are gone for good; its id stays taken.", done: "was deleted" },
};

export function ActDialog({ run, act, onClose }: { run: string; act: Act; onClose: () => void }): JSX.Element {
  return (
    <Dialog title={`${ACTS[act].title} ${run}`} kind="side" onClose={onClose}>
      {ACTS[act].button ? <Sure run={run} act={act} onDone={onClose} /> : <Asked run={run} onDone={onClose} />}
    </Dialog>
  );
}

/** What it waits for now, whatever its row said a moment ago. */
function Asked({ run, onDone }: { run: string; onDone: () => void }): JSX.Element {
  const { value: why, problem } = useLoad<Why>(`${path("runs", run)}/why`);
  return (
    <>
      <Wrong>{problem}</Wrong>
      {why?.asked.map((one) => one.payload !== null && <Payload value={one.payload} label={`${one.step} asks`} />)}
      {why && (answersIn(why).length ? <Answer run={run} why={why} mine onDone={onDone} /> : <p>{why.sentence}</p>)}
    </>
  );
}

function Sure({ run, act, onDone }: { run: string; act: Act; onDone: () => void }): JSX.Element {
  const { button, about, done } = ACTS[act];
  const { isBusy, problem, submit } = useSubmit(async (token) => {
    const isDelete = act === "delete";
    const made = await ask<{ id: string } | null>(`${path("runs", run)}${isDelete ? "" : `/${act}`}`, isDelete ? { method: "DELETE" } : { method: "POST", body: {}, headers: { "Idempotency-Key": token } });
    toast(`${run} ${done}`, "good", isDelete ? undefined : link("runs", made?.id ?? run));
    onDone();
  });
  return (
    <form class="actform" onSubmit={submit}>
      <p class="dim">{about}</p>
      <Wrong>{problem}</Wrong>
      <div class="end">
        <button class={`btn main ${act === "retry" ? "" : "danger"}`} type="submit" disabled={isBusy}>
          {button}
        </button>
      </div>
    </form>
  );
}
