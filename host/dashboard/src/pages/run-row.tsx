/** One run in a list. */

import type { ComponentChildren, JSX } from "preact";
import { memo } from "./memo";
import type { Reason, RunOut } from "../api/models";
import { clock, count } from "../clock";
import { go, link } from "../router";
import { may } from "../session";
import type { Act } from "../ui/act";
import { Ago, At, Pill, Text } from "../ui/basic";
import type { RowStyle } from "../ui/rows";

const COLUMNS = ["Status", "Run", "Workflow", "Why it is not moving", "Steps", "Records", "Started", "Moved", ""];

export function RunsHead(): JSX.Element {
  return (
    <div role="rowgroup">
      <div role="row" class="gridrow titles">
        {COLUMNS.map((name, index) => (
          <span role="columnheader" class={`c${index}`} key={index}>
            {name || <span class="sr">What moves it</span>}
          </span>
        ))}
      </div>
    </div>
  );
}

/** What moves the run best: a button of its row. */
export function actOf(run: RunOut, reason: Reason | null): Act | null {
  if (run.status === "suspended" || run.status === "paused") return "resume";
  if (run.status === "failed") return "retry";
  if (run.status === "waiting" && reason?.event) return "event";
  return null;
}

const LABELS: Record<Act, string> = { resume: "Answer", event: "Send event", retry: "Retry", cancel: "Cancel", delete: "Delete" };

interface Props {
  run: RunOut;
  index: number;
  reason: Reason | null;
  isCurrent: boolean;
  style: RowStyle;
  onTake: (index: number) => void;
  onAct: (run: RunOut) => void;
}

export const RunRow = memo(
  function RunRow({ run, index, reason, isCurrent, style, onTake, onAct }: Props): JSX.Element {
    const act = actOf(run, reason);
    return (
      <div
        role="row"
        aria-rowindex={index + 1}
        aria-current={isCurrent ? "true" : undefined}
        class={`gridrow st ${run.status} ${isCurrent ? "cur" : ""}`}
        style={style}
        onClick={(event) => {
          onTake(index);
          if (!(event.target as HTMLElement).closest("a, button")) go(link("runs", run.id));
        }}
      >
        <span role="cell" class="c0">
          <Pill status={run.status} />
        </span>
        <span role="cell" class="c1 id">
          <a href={link("runs", run.id)}>
            <Text of={run.id} />
          </a>
        </span>
        <span role="cell" class="c2">
          <Text of={run.workflow} />
        </span>
        <span role="cell" class="c3 wy">
          {whyOf(run, reason)}
        </span>
        <span role="cell" class="c4">
          {reason && <Progress reason={reason} />}
        </span>
        <span role="cell" class="c5 r">
          {count(run.records)}
        </span>
        <span role="cell" class="c6 r">
          <At at={run.created_at} />
        </span>
        <span role="cell" class="c7 r">
          <Ago at={run.updated_at} />
        </span>
        <span role="cell" class="c8">
          {act && may("operator") && (
            <button
              type="button"
              class="btn small"
              onClick={() => {
                onTake(index);
                onAct(run);
              }}
            >
              {act === "resume" && run.status === "paused" ? "Resume" : LABELS[act]}
              <span class="sr"> {run.id}</span>
            </button>
          )}
        </span>
      </div>
    );
  },
);

function whyOf(run: RunOut, reason: Reason | null): ComponentChildren {
  if (run.blocked) return <Text class="failtext" of={`${run.blocked.message} To do: ${run.blocked.what_to_do}`} />;
  if (reason === null) return run.wake_at && run.status === "waiting" ? `until ${clock(Date.parse(run.wake_at))}` : "";
  if (run.status === "success")
    return (
      <span class="faint mono">
        → <Text of={reason.sentence} />
      </span>
    );
  if (run.status === "failed") {
    const at = reason.sentence.indexOf(": ");
    return (
      <>
        <Text class="failtext" of={at < 0 ? reason.sentence : reason.sentence.slice(0, at)} />{" "}
        {at >= 0 && <Text of={reason.sentence.slice(at + 2)} />}
      </>
    );
  }
  if (reason.kind === "suspended" && reason.step)
    return (
      <>
        <b>
          <Text of={reason.step} />
        </b>{" "}
        {reason.question ? (
          <>
            asks: <Text of={reason.question} />
          </>
        ) : (
          "waits for an answer"
        )}
      </>
    );
  if (reason.event)
    return (
      <>
        waits for the event{" "}
        <b>
          <Text of={reason.event} />
        </b>
      </>
    );
  if (reason.kind === "timer" && reason.until)
    return (
      <>
        sleeps until <b>{clock(reason.until)}</b>
      </>
    );
  return <Text of={reason.sentence} />;
}

const TONES: Record<string, string> = { success: "d", pending: "", skipped: "" };

function Progress({ reason }: { reason: Reason }): JSX.Element {
  const done = reason.steps.filter((one) => one.status === "success").length;
  return (
    <span class="prog" role="img" aria-label={`${done} of ${reason.steps_count} steps done`} title={reason.steps.map((one) => `${one.step}: ${one.status}`).join("\n")}>
      {reason.steps.map((one) => (
        <i class={`st ${one.status} ${TONES[one.status] ?? "a"}`} />
      ))}
      {reason.steps_count > reason.steps.length && <span class="faint">+{count(reason.steps_count - reason.steps.length)}</span>}
    </span>
  );
}
