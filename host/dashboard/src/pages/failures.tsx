/** What failed and was not retried, alike by error and step: the largest group first. */

import type { JSX } from "preact";
import type { FailureGroup, Where } from "../api/models";
import { count } from "../clock";
import { go, link } from "../router";
import { may } from "../session";
import { Ago, Empty, Text } from "../ui/basic";
import { useLoad } from "../ui/load";
import { Table } from "../ui/parts";
import { quoted } from "./query";

export function Failures({ onBulk }: { onBulk: (where: Where) => void }): JSX.Element {
  const { value, problem } = useLoad<{ failures: FailureGroup[] }>("failures?by_workflow=true", 4000);
  const groups = value?.failures ?? null;
  if (groups === null) return <p class="pad dim">{problem || "…"}</p>;
  if (groups.length === 0)
    return (
      <Empty title="Nothing has failed that nobody has retried.">
        <p class="dim">Failures that are alike would stand here as one, with a button that retries all of them.</p>
      </Empty>
    );
  return (
    <div class="scroll">
      <Table heads={[">Runs", "Error", "At step", "Workflow", ">First", ">Last", ""]}>
          {groups.map((one) => (
            <tr key={[one.error, one.step, one.workflow].join(" ")}>
              <td class="r strong">{count(one.count)}</td>
              <td class="failtext">
                <Text of={one.error ?? "–"} />
              </td>
              <td class="mono">
                <Text of={one.step ?? "–"} />
              </td>
              <td>
                <Text of={one.workflow ?? "–"} />
              </td>
              <td class="r">
                <Ago at={one.first} />
              </td>
              <td class="r">
                <Ago at={one.last} />
              </td>
              <td class="acts">
                <a class="btn small" href={link("runs", one.example)}>
                  Example
                </a>
                <button type="button" class="btn small" onClick={() => go(link("runs", { q: searchOf(one) }))}>
                  Show
                </button>
                {may("operator") && (
                  <button type="button" class="btn small" onClick={() => onBulk(whereOf(one))}>
                    Retry all
                  </button>
                )}
              </td>
            </tr>
          ))}
</Table>
    </div>
  );
}

function whereOf(one: FailureGroup): Where {
  const where: Where = { status: "failed" };
  if (one.error !== null) where.error = one.error;
  if (one.step !== null) where.step = one.step;
  if (one.workflow !== null) where.workflow = one.workflow;
  return where;
}

const searchOf = (one: FailureGroup): string =>
  Object.entries(whereOf(one))
    .map(([name, value]) => `${name}:${quoted(String(value))}`)
    .join(" ");
