/** The search box, which says what can be typed. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Wrong } from "../ui/parts";
import { ask } from "../api/client";
import type { FailureGroup, Workflow } from "../api/models";
import { completions, type Completion } from "./query";

interface Props {
  value: string;
  mistakes: readonly string[];
  onChange: (value: string) => void;
  /** Enter, with nothing chosen. */
  onDone: () => void;
}

export function Search({ value, mistakes, onChange, onDone }: Props): JSX.Element {
  const box = useRef<HTMLInputElement>(null);
  const [text, setText] = useState(value);
  const [offers, setOffers] = useState<Completion[]>([]);
  const [at, setAt] = useState(-1);
  const values = useValues();
  const timer = useRef(0);
  useEffect(() => {
    if (value !== text) setText(value);
  }, [value]);

  const word = (): [number, number] => {
    const caret = box.current?.selectionStart ?? text.length;
    const start = /(?:[^\s"]|"[^"]*"?)*$/.exec(box.current!.value.slice(0, caret))![0].length;
    return [caret - start, caret];
  };
  const offer = (): void => {
    const [start, end] = word();
    setOffers(completions(box.current!.value.slice(start, end), values()));
    setAt(-1);
  };
  const type = (next: string, soon = true): void => {
    setText(next);
    clearTimeout(timer.current);
    if (soon) timer.current = window.setTimeout(() => onChange(next), 200);
    else onChange(next);
  };
  const take = (one: Completion): void => {
    const [start, end] = word();
    const next = text.slice(0, start) + one.word + text.slice(end);
    type(next, !one.word.endsWith(" "));
    queueMicrotask(() => {
      box.current!.setSelectionRange(start + one.word.length, start + one.word.length);
      offer();
    });
  };
  const keys = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && offers.length) setAt((at + step + offers.length) % offers.length);
    else if ((event.key === "Enter" || event.key === "Tab") && offers[at]) take(offers[at]);
    else if (event.key === "Enter") {
      type(text, false);
      setOffers([]);
      box.current!.blur();
      onDone();
    } else if (event.key === "Escape" && offers.length) setOffers([]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div class="searchbox">
      <input
        id="find"
        ref={box}
        class="find"
        role="combobox"
        aria-label="Find runs"
        aria-expanded={offers.length > 0}
        aria-controls="find-offers"
        aria-autocomplete="list"
        aria-activedescendant={at >= 0 ? `find-${at}` : undefined}
        aria-invalid={mistakes.length > 0}
        autocomplete="off"
        spellcheck={false}
        placeholder="id or text, status:failed, workflow:fulfil, tag:customer=acme, age:2h      /"
        value={text}
        onInput={(event) => {
          type(event.currentTarget.value);
          offer();
        }}
        onFocus={offer}
        onBlur={() => setTimeout(() => setOffers([]), 150)}
        onKeyDown={keys}
      />
      <ul id="find-offers" class="offers" role="listbox" aria-label="What can be typed" hidden={offers.length === 0}>
        {offers.map((one, index) => (
          <li
            id={`find-${index}`}
            role="option"
            aria-selected={index === at}
            class={index === at ? "cur" : ""}
            onMouseDown={(event) => {
              event.preventDefault();
              take(one);
            }}
          >
            <code>{one.label}</code> <span class="faint">{one.about}</span>
          </li>
        ))}
      </ul>
      {mistakes.map((one) => (
        <Wrong>{one}</Wrong>
      ))}
    </div>
  );
}

/** Names that the tenant has: asked for once, when somebody types. */
function useValues(): () => Record<string, readonly string[]> {
  const known = useRef<Record<string, readonly string[]> | null>(null);
  return () => {
    if (known.current === null) {
      known.current = {};
      void ask<{ workflows: Workflow[] }>("workflows").then(({ workflows }) => {
        known.current!.workflow = workflows.map((one) => one.id);
        known.current!.version = workflows.flatMap((one) => one.versions);
      }, () => undefined);
      void ask<{ failures: FailureGroup[] }>("failures").then(({ failures }) => {
        known.current!.error = [...new Set(failures.flatMap((one) => one.error ?? []))];
        known.current!.step = [...new Set(failures.flatMap((one) => one.step ?? []))];
      }, () => undefined);
    }
    return known.current;
  };
}
