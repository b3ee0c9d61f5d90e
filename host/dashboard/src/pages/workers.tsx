/** The workers that execute the runs of the store: what each drives, and whether it is alive. */

import type { JSX } from "preact";
import type { Summary, WorkerDetail } from "../api/models";
import { count, plural } from "../clock";
import { link } from "../router";
import { me } from "../session";
import { Empty, Text } from "../ui/basic";
import { Page, Table } from "../ui/parts";
import { useCursor } from "../ui/list-keys";
import { useLoad } from "../ui/load";

export function Workers(): JSX.Element {
  const reachesAll = me.value?.tenant === null;
  const { value, problem } = useLoad<{ workers: string[]; details?: WorkerDetail[] }>(reachesAll ? "workers" : null, 2000);
  const summary = useLoad<Summary>("summary", 5000);
  const details: WorkerDetail[] = value?.details ?? (value?.workers ?? []).map((id) => ({ id, is_dead: false, workflows: null, hung_steps: 0, runs: 0 }));
  const [at] = useCursor("Workers", details.length, () => undefined);
  const alive = details.filter((one) => !one.is_dead).length;
  const number = reachesAll ? alive : (summary.value?.workers ?? 0);
  const isThere = reachesAll ? value !== null : summary.value !== null;
  return (
    <Page title={isThere ? (number ? `${plural(number, "worker is at work", "workers are at work")}.` : "No worker is there: nothing moves.") : problem || " "} about="A worker that is not heard of for some seconds is dead; another one takes up its runs.">
      {!reachesAll && isThere && (
        <Empty title="Workers serve all tenants.">
          <p class="dim">Who drives what is shown to tokens of all tenants.</p>
        </Empty>
      )}
      {value && details.length === 0 && (
        <Empty title="Start one:">
          <p>
            <code>cloche worker orders.py:workflow --store …</code>
          </p>
        </Empty>
      )}
      {details.length > 0 && (
        <div class="scroll">
          <Table heads={["Worker", "Stands", ">Runs it drives", ">Steps that hang", "Workflows"]}>
              {details.map((one, index) => (
                <tr key={one.id} class={index === at ? "cur" : ""}>
                  <td class="id">
                    <Text of={one.id} />
                  </td>
                  <td>
                    <span class={`pill st ${one.is_dead ? "failed" : "success"}`}>{one.is_dead ? "not heard of" : "alive"}</span>
                  </td>
                  <td class="r">{count(one.runs)}</td>
                  <td class={`r ${one.hung_steps ? "failtext strong" : ""}`}>{count(one.hung_steps)}</td>
                  <td class="wrap">
                    {one.workflows === null ? (
                      <span class="faint">not known</span>
                    ) : (
                      one.workflows.map((name, place) => (
                        <>
                          {place > 0 && ", "}
                          <a href={link("workflows", name)}>
                            <Text of={name} />
                          </a>
                        </>
                      ))
                    )}
                  </td>
                </tr>
              ))}
</Table>
        </div>
      )}
</Page>
  );
}
