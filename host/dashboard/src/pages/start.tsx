/** Start a run: a form made of the workflow's input schema, the same as JSON beside it; the server judges. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ask } from "../api/client";
import type { Json, Started, Workflow } from "../api/models";
import { go, link } from "../router";
import { Copy } from "../ui/basic";
import { Dialog } from "../ui/dialog";
import { ValueForm } from "../ui/form";
import { useLoad } from "../ui/load";
import { useSubmit, Wrong } from "../ui/parts";
import { toast } from "../ui/toast";
import { curl, placeOfStart, pythonOf, type StartBody } from "../ui/copies";

export function Start({ workflow, onClose }: { workflow: string; onClose: () => void }): JSX.Element {
  const { value, problem } = useLoad<{ workflows: Workflow[] }>("workflows");
  const all = value?.workflows;
  const [taken, setName] = useState(workflow);
  const name = taken || all?.[0]?.id;
  const chosen = all?.find((one) => one.id === name);
  return (
    <Dialog title="Start a run" kind="side" onClose={onClose}>
      <Wrong>{problem}</Wrong>
      {all?.length === 0 && (
        <p class="dim">
          There is nothing to start: no worker has registered a workflow, and none was deployed. Start a worker: <code>cloche worker FILE.py:workflow</code>
        </p>
      )}
      {all && all.length > 0 && (
        <>
          <div class="row">
            <label for="start-workflow">Workflow</label>
            <select id="start-workflow" value={name} onChange={(event) => setName(event.currentTarget.value)}>
              {all.map((one) => (
                <option value={one.id}>{one.id}</option>
              ))}
            </select>
          </div>
          {chosen && <StartForm key={chosen.id} workflow={chosen} onDone={onClose} />}
        </>
      )}
    </Dialog>
  );
}

function StartForm({ workflow, onDone }: { workflow: Workflow; onDone: () => void }): JSX.Element {
  const [input, setInput] = useState<Json | undefined>();
  const [id, setId] = useState("");
  const [tags, setTags] = useState("");
  const [isOk, setOk] = useState(true);
  const body = (): StartBody => {
    const made: StartBody = { input: input ?? null };
    if (id.trim()) made.run_id = id.trim();
    const pairs = tags.split(/[\s,]+/).filter(Boolean).map((one) => one.split("="));
    if (pairs.length) made.tags = Object.fromEntries(pairs.map(([name = "", ...value]) => [name, value.join("=")]));
    return made;
  };
  const { isBusy, mistakes, problem, submit } = useSubmit(async (token) => {
    const started = await ask<Started>(placeOfStart(workflow.id), { method: "POST", body: body(), headers: { "Idempotency-Key": token } });
    toast(`${started.id} was started`, "good", link("runs", started.id));
    onDone();
    go(link("runs", started.id));
  });
  return (
    <form class="actform" onSubmit={submit} noValidate>
      {workflow.input_schema === null && <p class="dim">The form of its input is not known here: it is typed as JSON.</p>}
      <ValueForm
        schema={workflow.input_schema}
        label="Input"
        mistakes={mistakes}
        onChange={(next, ok) => {
          setInput(next);
          setOk(ok);
        }}
      />
      <details>
        <summary>Id and tags</summary>
        <div class="row">
          <label for="start-id">Run id</label>
          <input id="start-id" class="mono" placeholder="one is made" value={id} maxLength={200} onInput={(event) => setId(event.currentTarget.value)} />
        </div>
        <div class="row">
          <label for="start-tags">Tags</label>
          <input id="start-tags" class="mono" placeholder="customer=acme region=eu" value={tags} onInput={(event) => setTags(event.currentTarget.value)} />
        </div>
      </details>
      <Wrong>{problem}</Wrong>
      <div class="end">
        <button class="btn main" type="submit" disabled={!isOk || isBusy}>
          Start
        </button>
        <span class="as">
          or copy as{" "}
          <Copy what="the request" text={() => curl("POST", placeOfStart(workflow.id), body())}>
            curl
          </Copy>{" "}
          ·{" "}
          <Copy what="the call" text={() => pythonOf(workflow.id, body())}>
            Python
          </Copy>
        </span>
      </div>
    </form>
  );
}
