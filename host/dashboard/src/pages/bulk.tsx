/** The same done to all runs that are sought: first how many they are, then, when that was read, it is done page by page. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Wrong } from "../ui/parts";
import { ask, textOf } from "../api/client";
import type { BulkOut, Json, Where } from "../api/models";
import { plural } from "../clock";
import { link } from "../router";
import { may } from "../session";
import { Dialog } from "../ui/dialog";
import { ValueForm } from "../ui/form";
import { toast } from "../ui/toast";

export type BulkAct = "cancel" | "retry" | "resume" | "event" | "delete";
const BUTTONS: Record<BulkAct, string> = { retry: "Retry", cancel: "Cancel", resume: "Resume", event: "Send the event to", delete: "Delete" };

interface Props {
  where: Where;
  text: string;
  first?: BulkAct;
  onClose: () => void;
}

interface Given {
  data: Json | undefined;
  event: string;
  isOk: boolean;
}

export function Bulk({ where, text, first, onClose }: Props): JSX.Element {
  const acts = (Object.keys(BUTTONS) as BulkAct[]).filter((one) => one !== "delete" || may("admin"));
  const [act, setAct] = useState<BulkAct>(first ?? (where.status === "failed" ? "retry" : "cancel"));
  const [given, setGiven] = useState<Given>({ data: undefined, event: "", isOk: true });
  const [counted, setCounted] = useState<BulkOut | null>(null);
  const [done, setDone] = useState<Progress | null>(null);
  const [problem, setProblem] = useState("");
  const isOver = useRef(false);
  useEffect(() => () => void (isOver.current = true), []);
  const body = bodyOf(act, where, text, given);
  const isAsked = act !== "event" || given.event !== "";
  useEffect(() => {
    setCounted(null);
    setProblem("");
    if (!isAsked) return;
    const timer = setTimeout(() => {
      ask<BulkOut>("bulk", { method: "POST", body: { ...body, dry_run: true } }).then(setCounted, (error) => setProblem(textOf(error)));
    }, 150);
    return () => clearTimeout(timer);
  }, [act, given.event]);

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    setProblem("");
    try {
      const end = await doAll(body, setDone, isOver);
      toast(`${BUTTONS[act]}: ${plural(end.done, "run")}${end.failed.length ? `; ${plural(end.failed.length, "run")} refused it` : ""}`, end.failed.length ? "bad" : "good");
      if (!end.failed.length) onClose();
    } catch (error) {
      setProblem(textOf(error));
    }
  };
  const isBusy = done !== null && !done.isEnd;
  return (
    <Dialog title="All runs that are sought" kind="side" onClose={onClose}>
      <form class="actform" onSubmit={submit}>
        <Meant where={where} text={text} />
        <div class="seg" role="group" aria-label="What is done">
          {acts.map((one) => (
            <button type="button" aria-pressed={one === act} disabled={isBusy} onClick={() => setAct(one)}>
              {BUTTONS[one].split(" ")[0]}
            </button>
          ))}
        </div>
        {act === "event" && (
          <div class="row">
            <label for="bulk-event">Event</label>
            <input id="bulk-event" required value={given.event} onInput={(event) => setGiven({ ...given, event: event.currentTarget.value })} />
          </div>
        )}
        {(act === "event" || act === "resume") && (
          <ValueForm key={act} schema={null} label={act === "event" ? "Payload" : "Answer"} onChange={(data, isOk) => setGiven((before) => ({ ...before, data, isOk }))} />
        )}
        <Counted counted={counted} isAsked={isAsked && !problem} />
        {done && <Done of={done} />}
        <Wrong>{problem}</Wrong>
        <div class="end">
          <button class={`btn main ${act === "cancel" || act === "delete" ? "danger" : ""}`} type="submit" disabled={!counted || counted.matched === 0 || !given.isOk || isBusy}>
            {BUTTONS[act]} {counted ? plural(counted.matched, "run") : "…"}
          </button>
          {act === "delete" && <span class="dim">This cannot be undone.</span>}
        </div>
      </form>
    </Dialog>
  );
}

function Meant({ where, text }: { where: Where; text: string }): JSX.Element {
  const parts = Object.entries(where).map(([name, value]) => `${name}: ${typeof value === "object" ? JSON.stringify(value) : value}`);
  if (text) parts.push(`text: ${text}`);
  return (
    <p class="dim">
      {parts.length ? "Runs with " : "All runs of the tenant"}
      {parts.map((one, index) => (
        <>
          {index > 0 && ", "}
          <code>{one}</code>
        </>
      ))}
    </p>
  );
}

function Counted({ counted, isAsked }: { counted: BulkOut | null; isAsked: boolean }): JSX.Element {
  return (
    <div aria-live="polite">
      {counted ? (
        <>
          <p class="strong">{counted.matched === 0 ? "No run is meant." : `${plural(counted.matched, "run")}, for which this can be done now.`}</p>
          <ul class="examples">
            {counted.first.slice(0, 8).map((id) => (
              <li>
                <a class="mono" href={link("runs", id)} target="_blank">
                  <bdi>{id}</bdi>
                </a>
              </li>
            ))}
            {counted.matched > counted.first.slice(0, 8).length && <li class="faint">and more</li>}
          </ul>
        </>
      ) : (
        isAsked && <p class="faint">counting…</p>
      )}
    </div>
  );
}

interface Progress {
  done: number;
  matched: number;
  failed: { run_id: string; message: string }[];
  isEnd: boolean;
}

function Done({ of }: { of: Progress }): JSX.Element {
  return (
    <div aria-live="polite">
      <p>
        {plural(of.done, "run")} done{of.isEnd ? "." : " so far…"}
      </p>
      <ul class="examples">
        {of.failed.slice(0, 20).map((one) => (
          <li>
            <code>{one.run_id}</code> <bdi class="mistake">{one.message}</bdi>
          </li>
        ))}
      </ul>
    </div>
  );
}

function bodyOf(act: BulkAct, where: Where, text: string, given: Given): Record<string, unknown> {
  const body: Record<string, unknown> = { action: act, where };
  if (text) body.text = text;
  if (act === "event" || act === "resume") body.data = given.data ?? null;
  if (act === "event") body.event = given.event;
  return body;
}

async function doAll(body: Record<string, unknown>, told: (one: Progress) => void, isOver: { current: boolean }): Promise<Progress> {
  const all: Progress = { done: 0, matched: 0, failed: [], isEnd: false };
  let place: Record<string, string> = {};
  for (;;) {
    const page = await ask<BulkOut>("bulk", { method: "POST", body: { ...body, ...place } });
    all.done += page.done;
    all.matched += page.matched;
    all.failed.push(...page.failed);
    all.isEnd = page.next === null || isOver.current;
    told({ ...all });
    if (page.next === null || isOver.current) return all;
    place = { after: page.next, bulk_id: page.bulk_id };
  }
}
