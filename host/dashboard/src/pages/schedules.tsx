/** What begins runs at set times: the next instants and the past ones, with what was skipped and why. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ask, path } from "../api/client";
import type { Firing, Schedule, Started } from "../api/models";
import { fromNow, now, plural } from "../clock";
import { go, link, place } from "../router";
import { may } from "../session";
import { At, Empty, FromNow, Text } from "../ui/basic";
import { Page, Pane, Table } from "../ui/parts";
import { useCursor } from "../ui/list-keys";
import { useLoad } from "../ui/load";
import { Payload } from "../ui/payload";
import { toast, toastError } from "../ui/toast";

export function Schedules({ id }: { id: string | undefined }): JSX.Element {
  const { value, problem, reload } = useLoad<{ schedules: Schedule[] }>("schedules", 3000);
  const all = value?.schedules ?? [];
  const chosen = all.find((one) => one.id === id) ?? (id === undefined ? all[0] : undefined);
  const [at, setAt] = useCursor("Schedules", all.length, (index) => go(link("schedules", all[index]!.id)), (index) => [
    { keys: "p", label: "pause it, or go on", run: () => all[index] && may("operator") && void pause(all[index], reload) },
    { keys: "!", label: "fire it now", run: () => all[index] && may("operator") && void fire(all[index]) },
  ]);
  const next = all.flatMap((one) => (one.next_at ? [Date.parse(one.next_at)] : [])).sort((a, b) => a - b)[0];
  const paused = all.filter((one) => one.is_paused).length;
  return (
    <Page title={value ? (all.length ? `${plural(all.length, "schedule")}${next ? `; the next run begins ${fromNow(next, now.value)}` : "; none is due"}.` : "Nothing begins by itself.") : problem || " "} about={paused > 0 && `${plural(paused, "is paused", "are paused")}.`}>
      {value && all.length === 0 ? (
        <Empty title="There is no schedule.">
          <p class="dim">
            Make one: <code>cloche schedule put nightly stock-sync --cron '0 3 * * *'</code>
          </p>
        </Empty>
      ) : (
        <div class="panes two">
          <div class="col scroll">
            <Table heads={["Schedule", "Workflow", "When", "Next", ""]}>
                {all.map((one, index) => (
                  <tr key={one.id} class={index === at ? "cur" : one === chosen ? "chosen" : ""} onClick={() => setAt(index)}>
                    <td class="id">
                      <a href={link("schedules", one.id)} aria-current={one === chosen ? "true" : undefined}>
                        <Text of={one.id} />
                      </a>
                    </td>
                    <td>
                      <Text of={one.workflow} />
                    </td>
                    <td>
                      <Text of={one.when} /> <span class="faint">{one.tz}</span>
                    </td>
                    <td>{one.is_paused ? <span class="st suspended word">paused</span> : one.next_at ? <FromNow at={one.next_at} /> : <span class="faint">over</span>}</td>
                    <td class="acts">
                      {may("operator") && (
                        <>
                          <button type="button" class="btn small" onClick={() => void pause(one, reload)}>
                            {one.is_paused ? "Go on" : "Pause"}
                            <span class="sr"> {one.id}</span>
                          </button>
                          <button type="button" class="btn small" onClick={() => void fire(one)}>
                            Fire now
                            <span class="sr"> {one.id}</span>
                          </button>
                        </>
                      )}
                    </td>
                  </tr>
                ))}
</Table>
          </div>
          <div class="col">{chosen ? <Detail key={chosen.id} of={chosen} /> : value && id !== undefined && <p class="pad">There is no schedule {id}.</p>}</div>
        </div>
      )}
</Page>
  );
}

async function pause(one: Schedule, then: () => void): Promise<void> {
  try {
    await ask(`schedules/${path(one.id)}/${one.is_paused ? "resume" : "pause"}`, { method: "POST", body: {} });
    toast(one.is_paused ? `${one.id} goes on` : `${one.id} begins no run until it is resumed`);
    then();
  } catch (error) {
    toastError(error);
  }
}

async function fire(one: Schedule): Promise<void> {
  try {
    const run = await ask<Started>(`schedules/${path(one.id)}/fire`, { method: "POST", body: {} });
    toast(`${one.id} began ${run.id}`, "good", link("runs", run.id));
  } catch (error) {
    toastError(error);
  }
}

const OVERLAPS: Record<string, string> = {
  skip: "an instant is skipped while the run before it is open",
  queue: "instants wait for the run before them",
  allow: "runs may stand beside each other",
  replace: "the run before is canceled",
};

function Detail({ of }: { of: Schedule }): JSX.Element {
  const at = `schedules/${path(of.id)}`;
  const upcoming = useLoad<{ instants: string[] }>(`${at}/upcoming?count=8&seen=${of.next_at ?? "none"}`);
  const past = useLoad<{ firings: Firing[] }>(`${at}/firings?limit=100`, 3000);
  const [isInput, setInput] = useState(place.value.query.has("input"));
  return (
    <>
      <Pane label="Next instants" title={<h2>
            <Text of={of.id} />
          </h2>} head={<span class="faint">
            overlap {of.overlap}: {OVERLAPS[of.overlap]}
          </span>} class="pad">
          <ol class="instants">
            {(upcoming.value?.instants ?? []).map((one) => (
              <li key={one}>
                <At at={one} /> <span class="faint">{fromNow(Date.parse(one), now.value)}</span>
              </li>
            ))}
          </ol>
          {upcoming.value?.instants.length === 0 && <p class="dim">{of.is_paused ? "It is paused: no run begins." : "It is over."}</p>}
          {upcoming.problem && <p class="dim">{of.next_at ? <At at={of.next_at} /> : ""}</p>}
          <button type="button" class="textlink" aria-expanded={isInput} onClick={() => setInput(!isInput)}>
            Input of its runs
          </button>
          {isInput && <Payload value={of.input} label="Input" />}
        </Pane>
      <Pane label="Past instants" title={<h2>What came of past instants</h2>} body={{ tabIndex: 0 }}>
          <Table class="firings" heads={["Instant", "Outcome", "Run, or why not"]}>
              {(past.value?.firings ?? []).map((one) => (
                <tr key={one.number}>
                  <td>
                    <At at={one.instant} />
                    {one.until && (
                      <>
                        {" "}
                        – <At at={one.until} />
                      </>
                    )}
                  </td>
                  <td>
                    <span class={`st word ${one.outcome === "fired" ? "success" : one.outcome === "refused" ? "failed" : "suspended"}`}>
                      {one.outcome}
                      {one.count > 1 && ` ×${one.count}`}
                    </span>
                  </td>
                  <td>
                    {one.run && (
                      <a class="mono" href={link("runs", one.run)}>
                        <Text of={one.run} />
                      </a>
                    )}{" "}
                    <Text of={one.reason} class="dim" />
                  </td>
                </tr>
              ))}
</Table>
          {past.value?.firings.length === 0 && <p class="pad dim">No instant has passed yet.</p>}
        </Pane>
    </>
  );
}
