/** What tenants have used: amounts that only grow. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { TenantUsage, Usage as Amounts } from "../api/models";
import { count, duration, plural, size } from "../clock";
import { me, shownTenant, switchTenant } from "../session";
import { Empty, Text } from "../ui/basic";
import { Page, Table } from "../ui/parts";
import { useCursor } from "../ui/list-keys";
import { useLoad } from "../ui/load";

type Column = { name: string; title: string; of: (one: TenantUsage) => number; show: (value: number) => string };
const amount = (name: keyof Amounts) => (one: TenantUsage): number => one.usage[name];
const COLUMNS: readonly Column[] = [
  { name: "Runs", title: "Runs that were begun", of: (one) => one.runs, show: count },
  { name: "Steps", title: "Steps that were called", of: amount("steps"), show: count },
  { name: "Attempts", title: "Attempts of steps", of: amount("attempts"), show: count },
  { name: "Events", title: "Events that workflows were given", of: amount("events"), show: count },
  { name: "Fuel", title: "Instructions under glass, in millions", of: amount("fuel"), show: (value) => `${(value / 1e6).toFixed(1)} M` },
  { name: "Time under glass", title: "Time that workflows' own code took", of: amount("wall_us"), show: (value) => duration(value / 1000) },
  { name: "Memory × time", title: "Memory of cells, over the time that they held it", of: amount("memory_kib_ms"), show: (value) => `${size(value * 1.024)} s` },
  { name: "Log", title: "Bytes of records", of: amount("log_bytes"), show: size },
];

export function Usage(): JSX.Element {
  const { value, problem } = useLoad<{ tenants: TenantUsage[] }>("usage", 5000, me.value?.tenant === null);
  const all = value?.tenants;
  const [by, setBy] = useState(0);
  const column = COLUMNS[by]!;
  const rows = [...(all ?? [])].sort((a, b) => column.of(b) - column.of(a) || a.tenant.localeCompare(b.tenant));
  const [at] = useCursor("Usage", rows.length, (index) => me.value?.tenant === null && switchTenant(rows[index]!.tenant), () => [
    { keys: "s", label: "sort by the next column", run: () => setBy((by + 1) % COLUMNS.length) },
  ]);
  const total = (of: Column): number => rows.reduce((sum, one) => sum + of.of(one), 0);
  return (
    <Page title={all ? `${plural(total(COLUMNS[0]!), "run")} of ${plural(rows.length, "tenant")} have used ${COLUMNS[4]!.show(total(COLUMNS[4]!))} of fuel and ${size(total(COLUMNS[7]!))} of log.` : problem || " "} about="Fuel is counted in instructions, the same on every machine. What it would cost is for you to say.">
      {all?.length === 0 && <Empty title="Nothing was used yet." />}
      {rows.length > 0 && (
        <div class="scroll">
          <Table class="usage" heads={["Tenant", ...COLUMNS.map((one, index) => (
                  <th scope="col" class="r" aria-sort={index === by ? "descending" : "none"} key={one.name}>
                    <button type="button" title={one.title} onClick={() => setBy(index)}>
                      {one.name}
                      {index === by ? " ↓" : ""}
                    </button>
                  </th>
                ))]}>
              {rows.map((one, index) => (
                <tr key={one.tenant} class={index === at ? "cur" : ""}>
                  <td class="id">
                    <Text of={one.tenant} />
                    {one.tenant === shownTenant.value && <span class="faint"> shown</span>}
                  </td>
                  {COLUMNS.map((each, place) => (
                    <td class="r" key={each.name}>
                      {each.show(each.of(one))}
                      {place === by && <Share of={total(each) ? each.of(one) / total(each) : 0} />}
                    </td>
                  ))}
                </tr>
              ))}
</Table>
        </div>
      )}
</Page>
  );
}

function Share({ of }: { of: number }): JSX.Element {
  return (
    <span class="share" role="img" aria-label={`${Math.round(of * 100)} % of all`}>
      <i style={{ width: `${of * 100}%` }} />
    </span>
  );
}
