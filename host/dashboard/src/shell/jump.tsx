/** Jump: to a run by its id, to a page, or a command of the page. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, path, query } from "../api/client";
import type { RunOut, RunPage, Workflow } from "../api/models";
import { keyGroups } from "../keys";
import { PAGES } from "../pages/pages";
import { go, link } from "../router";
import { Kbd, Pill } from "../ui/basic";
import { Dialog } from "../ui/dialog";

interface Target {
  id: string;
  label: JSX.Element | string;
  kind: string;
  run: () => void;
  key?: string;
}

export function Jump({ onClose }: { onClose: () => void }): JSX.Element {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const [found, setFound] = useState<{ of: string; targets: Target[] }>({ of: "", targets: [] });
  const isTaken = useRef(false); // Enter came before what was found
  const commands = useRef(commandsOf()).current;
  const sought = text.trim();
  const needle = sought.toLowerCase();
  const own = commands.filter((one) => one.id.toLowerCase().includes(needle));
  const all = [...found.targets, ...own].slice(0, 40);
  const cursor = Math.min(at, Math.max(0, all.length - 1));
  const take = (one: Target | undefined): void => {
    if (!one) return;
    onClose();
    queueMicrotask(one.run);
  };
  useEffect(() => {
    let isCurrent = true;
    const timer = setTimeout(() => {
      void search(sought).then((targets) => {
        if (!isCurrent) return;
        setFound({ of: sought, targets });
        if (isTaken.current) take([...targets, ...own][0]);
      });
    }, 80);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [text]);
  const keys = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) setAt((cursor + step + all.length) % Math.max(1, all.length));
    else if (event.key === "Enter") {
      if (found.of === sought) take(all[cursor]);
      else isTaken.current = true;
    }
    else return;
    event.preventDefault();
  };
  return (
    <Dialog title="Jump to" kind="palette" onClose={onClose}>
      <input
        class="jumpfield"
        role="combobox"
        aria-expanded="true"
        aria-controls="jump-list"
        aria-activedescendant={all.length ? `jump-${cursor}` : undefined}
        aria-label="A run's id, a workflow, a page or a command"
        placeholder="A run's id, a workflow, a page or a command"
        autocomplete="off"
        spellcheck={false}
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          isTaken.current = false;
          setAt(0);
        }}
        onKeyDown={keys}
      />
      <ul id="jump-list" class="jumplist" role="listbox" aria-label="What was found">
        {all.map((one, index) => (
          <li id={`jump-${index}`} role="option" aria-selected={index === cursor} class={index === cursor ? "cur" : ""} onClick={() => take(one)} key={`${one.kind} ${one.id}`}>
            <span class="label">{one.label}</span>
            <span class="faint">{one.kind}</span>
            {one.key && <Kbd of={one.key} />}
          </li>
        ))}
      </ul>
      {all.length === 0 && <p class="dim pad">Nothing is called so.</p>}
    </Dialog>
  );
}

function commandsOf(): Target[] {
  const pages = PAGES.map((one) => ({ id: one.title, label: one.title, kind: "page", key: one.key, run: () => go(link(one.name)) }));
  const keys = keyGroups().flatMap((group) =>
    group.keys.map((one) => {
      const key = [one.keys].flat()[0]!;
      return { id: one.label, label: one.label, kind: group.name.toLowerCase(), key, run: () => one.run(new KeyboardEvent("keydown", { key })) };
    }),
  );
  const names = new Set(PAGES.map((one) => one.title.toLowerCase()));
  return [...pages, ...keys.filter((one) => !names.has(one.id) && !one.id.startsWith("jump"))];
}

async function search(text: string): Promise<Target[]> {
  if (!text) return [];
  const asks: Promise<Target[]>[] = [
    ask<RunOut>(`runs/${path(text)}`).then((run) => [targetOf(run)]),
    ask<RunPage>(`runs${query({ workflow: text, limit: 5 })}`).then((page) => page.runs.map(targetOf)),
    ask<{ workflows: Workflow[] }>("workflows").then(({ workflows }) =>
      workflows
        .filter((one) => one.id.toLowerCase().includes(text.toLowerCase()))
        .slice(0, 8)
        .map((one) => ({ id: one.id, label: one.id, kind: "workflow", run: () => go(link("workflows", one.id)) })),
    ),
  ];
  return (await Promise.all(asks.map((one) => one.catch(() => [])))).flat();
}

const targetOf = (run: RunOut): Target => ({
  id: run.id,
  kind: `run of ${run.workflow}`,
  run: () => go(link("runs", run.id)),
  label: (
    <>
      <Pill status={run.status} /> <bdi class="mono">{run.id}</bdi>
    </>
  ),
});
