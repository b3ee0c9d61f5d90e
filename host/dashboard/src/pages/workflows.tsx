/** What can be started: workflows of workers, and what the tenant has deployed. */

import type { JSX } from "preact";
import { query } from "../api/client";
import type { RunPage, Workflow } from "../api/models";
import { plural } from "../clock";
import { go, link } from "../router";
import { may } from "../session";
import { Empty, Text } from "../ui/basic";
import { Page, Table } from "../ui/parts";
import { useCursor } from "../ui/list-keys";
import { useLoad } from "../ui/load";

export function Workflows(): JSX.Element {
  const { value, problem } = useLoad<{ workflows: Workflow[] }>("workflows", 5000);
  const all = value?.workflows ?? [];
  const [at] = useCursor("Workflows", all.length, (index) => go(link("workflows", all[index]!.id)), (index) => [
    { keys: "n", label: "start a run of it", run: () => all[index] && may("operator") && start(all[index]) },
    { keys: "r", label: "its runs", run: () => all[index] && go(link("runs", { q: `workflow:${all[index].id}` })) },
  ]);
  return (
    <Page title={value ? `${plural(all.length, "workflow")} can be started.` : problem || " "} about="Workers register what is in their files; a tenant's own code is deployed, in versions.">
      {value && all.length === 0 ? (
        <Empty title="Nothing can be started yet.">
          <p class="dim">
            Start a worker with <code>cloche worker orders.py:workflow</code>, or deploy code with <code>cloche deploy</code>.
          </p>
        </Empty>
      ) : (
        <div class="scroll">
          <Table heads={["Workflow", "Comes from", "Input", "Newest runs", ""]}>
              {all.map((one, index) => (
                <tr key={one.id} class={index === at ? "cur" : ""}>
                  <td class="id">
                    <a href={link("workflows", one.id)}>
                      <Text of={one.id} />
                    </a>
                  </td>
                  <td>{[one.is_registered && "a worker's file", one.versions.length > 0 && plural(one.versions.length, "version")].filter(Boolean).join(", ")}</td>
                  <td class="mono dim">
                    <Text of={inputOf(one)} />
                  </td>
                  <td>
                    <Newest workflow={one.id} />
                  </td>
                  <td class="acts">
                    <a class="btn small" href={link("runs", { q: `workflow:${one.id}` })}>
                      Runs
                    </a>
                    {may("operator") && (
                      <button type="button" class="btn small" onClick={() => start(one)}>
                        Start
                      </button>
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

const start = (one: Workflow): void => go(link("runs", { start: one.id }));

function inputOf({ input_schema: schema }: Workflow): string {
  if (schema === null) return "anything";
  const names = Object.keys(schema.properties ?? {});
  return names.length ? names.join(", ") : String(schema.type ?? schema.title ?? "a value");
}

/** The last runs, each as the dot of its status. */
function Newest({ workflow }: { workflow: string }): JSX.Element {
  const { value: page } = useLoad<RunPage>(`runs${query({ workflow, limit: 12 })}`);
  if (!page) return <span />;
  const counts = new Map<string, number>();
  for (const run of page.runs) counts.set(run.status, (counts.get(run.status) ?? 0) + 1);
  const told = [...counts].map(([status, count]) => `${count} ${status}`).join(", ");
  return (
    <span class="dots" role="img" aria-label={told || "none"} title={told}>
      {page.runs.map((run) => (
        <i key={run.id} class={`st ${run.status}`} />
      ))}
      {page.runs.length === 0 && <span class="faint">none</span>}
    </span>
  );
}
