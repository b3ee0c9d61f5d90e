/** The top of the page: one sentence that says what the run waits for, and the facts. */

import type { ComponentChildren, JSX } from "preact";
import { FINAL, type Why } from "../api/models";
import { clock, count, duration, fromNow, now, size } from "../clock";
import { At, Pill, Text, visible } from "../ui/basic";
import { question } from "../ui/answer";
import { link } from "../router";
import type { RunModel } from "./model";

export function Head({ model }: { model: RunModel }): JSX.Element {
  const { at } = model.frame.value;
  const run = model.run.value;
  const isLive = model.isLive.value;
  const status = isLive ? (run?.status ?? model.log.runStatus()) : model.log.runStatus();
  return (
    <div class="say">
      <div class="crumb">
        <Pill status={status} />
        <Text class="id" of={model.id} />
        {run && (
          <a class="dim" href={link("workflows", run.workflow)}>
            <bdi>{run.workflow}</bdi>
          </a>
        )}
        {run?.code && <span class="mono faint" title={`Its code: ${run.code}`}>@{run.code.slice(0, 7)}</span>}
        <Relatives model={model} />
      </div>
      {isLive ? <Present model={model} /> : <Past model={model} at={at} />}
      <Facts model={model} at={at} />
    </div>
  );
}

function Past({ model, at }: { model: RunModel; at: number }): JSX.Element {
  const { log } = model;
  const names: string[] = [];
  for (let index = log.calls.length - 1; index >= 0 && names.length < 4; index--) if (log.callStatus[index]! < 7) names.unshift(log.calls[index]!.path);
  const open = log.standing.reduce((sum, one) => sum + one, 0);
  const verb = log.runStatus() === "running" ? "was running" : "waited for";
  return (
    <>
      <h1>
        At record {count(at)} it {open ? <>{verb} {listed(names)}{open > names.length && ` and ${count(open - names.length)} more`}</> : `was ${log.phaseOf(at) === "running" ? "between steps" : log.runStatus()}`}.
      </h1>
      <p>This is the past, folded from the log. L follows the present again.</p>
    </>
  );
}

const listed = (names: string[]): ComponentChildren =>
  names.map((name, index) => (
    <>
      {index > 0 && ", "}
      <code><bdi>{visible(name)}</bdi></code>
    </>
  ));

function Present({ model }: { model: RunModel }): JSX.Element {
  const why = model.why.value;
  if (why === null) return <h1 aria-busy="true">…</h1>;
  const [sentence, more] = said(why, model);
  return (
    <>
      <h1>{sentence}</h1>
      <p><bdi>{more}</bdi></p>
    </>
  );
}

const code = (name: string | null): JSX.Element => <code><bdi>{visible(name ?? "it")}</bdi></code>;

/** The sentence, and what is to be known beside it. */
function said(why: Why, model: RunModel): [ComponentChildren, string] {
  const ago = why.since === null ? null : <em>{fromNow(why.since, now.value)}</em>;
  const until = why.until === null ? "There is no deadline." : `At the latest ${fromNow(why.until, now.value)} it goes on by itself.`;
  const error = why.last_error;
  const first = why.asked[0];
  switch (why.kind) {
    case "suspended":
      return [
        <>Waits for a person: {listed(why.asked.slice(0, 3).map((one) => one.step))} asked {ago ?? "something"}{question(first?.payload) && <>: <q><bdi>{question(first?.payload)}</bdi></q></>}</>,
        `Nothing else can move until somebody answers. It costs nothing meanwhile: no process holds it. ${until}`,
      ];
    case "event":
      return [<>Waits for the event {listed(why.asked.slice(0, 3).map((one) => one.event ?? one.step))}, since <em class="w">{why.since === null ? "its start" : fromNow(why.since, now.value)}</em>.</>, `It goes on when somebody sends it. It costs nothing meanwhile. ${until}`];
    case "timer":
      return [<>Sleeps until <em class="w">{why.until === null ? "its time" : `${clock(why.until)}, ${fromNow(why.until, now.value)}`}</em>.</>, "It goes on by itself as soon as that is due and a worker runs. It costs nothing meanwhile."];
    case "retry":
      return [<>{code(why.step)} failed and is tried again <em>{why.until === null ? "soon" : fromNow(why.until, now.value)}</em>.</>, `${error ? `${error.name}: ${error.message}. ` : ""}Attempt ${why.attempt ?? "?"}${why.attempts_max ? ` of ${why.attempts_max}` : ""}.`];
    case "step":
      return [<>{code(why.step)} is at work{why.since !== null && <> since <em class="r">{fromNow(why.since, now.value)}</em></>}.</>, why.worked_ms !== null && why.usually_ms !== null ? `It has worked for ${duration(why.worked_ms)}, far longer than usual (${duration(why.usually_ms)}).` : `Attempt ${why.attempt ?? 1}${why.attempts_max ? ` of ${why.attempts_max}` : ""}. ${why.worker ? `Worker ${why.worker} drives it.` : ""}`];
    case "ended":
      return ended(why, model);
    default: {
      const sentence = why.sentence.trim();
      const at = sentence.search(/[.;:] /);
      const lead = at > 0 ? sentence.slice(0, at) : sentence;
      const rest = at > 0 ? sentence.slice(at + 2) : "";
      return [<bdi>{capital(visible(lead).replace(/\.$/, ""))}.</bdi>, capital(rest)];
    }
  }
}

function ended(why: Why, model: RunModel): [ComponentChildren, string] {
  const { log } = model;
  const took = duration(log.timeOf(log.count) - log.timeOf(1));
  const status = model.run.value?.status;
  if (status === "failed") {
    const error = why.last_error;
    const shown = error && error.message.length > 160 ? `${error.message.slice(0, 159)}…` : error?.message;
    return [<>Failed{why.step && <> at {code(why.step)}</>}{error && <>: <em class="f">{visible(error.name)}</em> <bdi>{visible(shown ?? "")}</bdi></>}</>, why.retried_as.length ? `It goes on as ${why.retried_as.join(", ")}.` : `It ended ${why.since === null ? "" : fromNow(why.since, now.value)}, after ${took}. Nothing that succeeded is done again when it is retried.`];
  }
  if (status === "canceled") return [<>Was canceled{why.since !== null && <> <em class="n">{fromNow(why.since, now.value)}</em></>}.</>, `It had run for ${took}.`];
  return [<>Succeeded in <em class="k">{took}</em>.</>, `It ended ${why.since === null ? "" : fromNow(why.since, now.value)}.`];
}

const capital = (text: string): string => (text ? text[0]!.toUpperCase() + text.slice(1) : text);

function Facts({ model, at }: { model: RunModel; at: number }): JSX.Element {
  const { log } = model;
  const run = model.run.value;
  const isLive = model.isLive.value;
  const start = log.timeOf(1);
  const end = log.timeOf(at);
  const isOver = FINAL.has(log.phaseOf(at));
  const waited = (isLive && !isOver ? now.value : end) - start - log.busyOf(at);
  const used = model.usage.value;
  const tags = Object.entries(log.tagsAt(at));
  const deadline = log.deadlineAt(at);
  return (
    <dl class="facts">
      <Fact of="Started">{start ? <At at={start} /> : "–"}</Fact>
      <Fact of="Worked" title="How long something was queued or at work">{duration(log.busyOf(at))}</Fact>
      <Fact of="Waited" title="For people, events, times and retries">{waited > 5 ? duration(waited) : "–"}</Fact>
      <Fact of="Step time" title="What all attempts took together">{duration(log.workOf(at))}</Fact>
      <Fact of="Records">{count(at)}</Fact>
      <Fact of="Fuel" title="Instructions of the guest">{isLive && used ? count(used.fuel) : "–"}</Fact>
      <Fact of="Log">{used ? size(used.log_bytes) : "–"}</Fact>
      {isLive && run?.head_hash && <Fact of="Chain" title={`The hash of its last record, which holds all before: ${run.head_hash}`}><span class="good">{run.head_hash.slice(0, 8)}</span></Fact>}
      {deadline !== null && <Fact of="Deadline"><At at={deadline} /></Fact>}
      {tags.slice(0, 8).map(([name, value]) => (
        <div class="tag" key={name}>
          <dt><bdi>{visible(name)}</bdi></dt>
          <dd><Text of={String(value)} /></dd>
        </div>
      ))}
    </dl>
  );
}

function Fact({ of, title, children }: { of: string; title?: string; children: ComponentChildren }): JSX.Element {
  return (
    <div title={title}>
      <dt>{of}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Where the run comes from and what came of it. */
function Relatives({ model }: { model: RunModel }): JSX.Element | null {
  const lineage = model.lineage.value;
  if (lineage === null) return null;
  const found: [string, string][] = [];
  if (lineage.parent) found.push(["child of", lineage.parent.run_id]);
  for (const name of ["retry_of", "forked_from", "continues", "continued_as"] as const) if (lineage[name]) found.push([name.replace("_", " "), lineage[name].run_id]);
  for (const one of lineage.retried_as.slice(0, 3)) found.push(["retried as", one.run_id]);
  if (!found.length && !lineage.schedule && !lineage.children.length) return null;
  return (
    <span class="kin">
      {found.map(([word, id]) => (
        <span key={word + id}>
          {word}{" "}
          <a href={link("runs", id)}>
            <bdi>{visible(id)}</bdi>
          </a>
        </span>
      ))}
      {lineage.schedule && <span>by schedule <a href={link("schedules", lineage.schedule)}><bdi>{lineage.schedule}</bdi></a></span>}
      {lineage.children.length > 0 && (
        <details>
          <summary>{count(lineage.children.length)} {lineage.children.length === 1 ? "child" : "children"}</summary>
          <ul>
            {lineage.children.map((one) => (
              <li key={one.run_id}>
                <a href={link("runs", one.run_id)}><bdi>{visible(one.run_id)}</bdi></a> <span class="faint">{one.status ?? "gone"}</span>
              </li>
            ))}
          </ul>
        </details>
      )}
    </span>
  );
}
