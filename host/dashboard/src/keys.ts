/** Keys of the page: each place says which it has, and `?` lists them. */

import { useLayoutEffect, useRef } from "preact/hooks";

export interface Key {
  /** As `KeyboardEvent.key` says it; `Shift+ArrowLeft` with a modifier; several do the same. */
  keys: string | string[];
  label: string;
  run: (event: KeyboardEvent) => void;
}

interface Group {
  name: string;
  keys: Key[];
}

const groups: Group[] = [];

/** The keys of the page, as they are now. */
export const keyGroups = (): readonly Group[] => groups;

/** Have these keys for as long as the component is there. What was added last comes first. */
export function useKeys(name: string, keys: Key[]): void {
  const group = useRef<Group>({ name, keys }).current;
  group.keys = keys;
  useLayoutEffect(() => {
    groups.push(group);
    return () => {
      groups.splice(groups.indexOf(group), 1);
    };
  }, []);
}

const TYPING = "input, textarea, select, [contenteditable]";

function nameOf(event: KeyboardEvent): string {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const parts: string[] = [];
  if (event.ctrlKey || event.metaKey) parts.push("Mod");
  if (event.altKey) parts.push("Alt");
  if (event.shiftKey && event.key.length > 1) parts.push("Shift"); // `?` says by itself that Shift is held
  return [...parts, key].join("+");
}

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing) return;
  const target = event.target as HTMLElement;
  const name = nameOf(event);
  if (target.matches?.(TYPING) && !name.startsWith("Mod+")) {
    if (event.key === "Escape") target.blur();
    return;
  }
  if (document.querySelector("dialog[open]") && !name.startsWith("Mod+")) return; // a dialog has the keyboard to itself
  if (event.key === "Enter" && target.closest?.("button, a, summary, [role=option], [role=tab]")) return;
  for (const group of [...groups].reverse()) {
    const found = group.keys.find((one) => [one.keys].flat().includes(name));
    if (found) {
      event.preventDefault();
      found.run(event);
      return;
    }
  }
});

const SHOWN: Record<string, string> = {
  ArrowLeft: "←",
  ArrowRight: "→",
  ArrowUp: "↑",
  ArrowDown: "↓",
  Enter: "↵",
  Escape: "Esc",
  Mod: /Mac/.test(navigator.platform) ? "⌘" : "Ctrl",
  Shift: "⇧",
  " ": "Space",
};
/** As it stands on a key. */
export const shownKey = (name: string): string =>
  name
    .split("+")
    .map((part) => SHOWN[part] ?? (part.length === 1 ? part.toUpperCase() : part))
    .join(" ");
