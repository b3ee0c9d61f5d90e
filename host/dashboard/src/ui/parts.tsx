/** What several pages have: the head of a list, its table, a pane, what is wrong, and a form that is sent. */

import type { ComponentChild, ComponentChildren, JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { key, Problem, textOf } from "../api/client";
import { mistakesIn, type Mistake } from "./schema";

export function Page({ title, about, children }: { title: ComponentChildren; about: ComponentChildren; children: ComponentChildren }): JSX.Element {
  return (
    <main class="page">
      <header class="lede">
        <h1>{title}</h1>
        <p>{about}</p>
      </header>
      {children}
    </main>
  );
}

/** `heads`: the names of columns; `>` stands before one of numbers, and "" is the column of what can be done. */
export function Table({ heads, class: name = "", children }: { heads: ComponentChild[]; class?: string; children: ComponentChildren }): JSX.Element {
  return (
    <table class={`list plain ${name}`}>
      <thead>
        <tr>
          {heads.map((one) =>
            typeof one === "string" ? (
              <th scope="col" class={one[0] === ">" ? "r" : ""}>
                {one ? one.replace(">", "") : <span class="sr">What can be done</span>}
              </th>
            ) : (
              one
            ),
          )}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  );
}

interface PaneProps {
  label: string;
  /** What stands at its top; left out, `label` does. */
  title?: ComponentChildren;
  /** Beside the title. */
  head?: ComponentChildren;
  /** More classes of its body. */
  class?: string;
  /** More attributes of its body. */
  body?: JSX.IntrinsicElements["div"];
  children: ComponentChildren;
}

export function Pane({ label, title = <h2>{label}</h2>, head, class: name = "", body, children }: PaneProps): JSX.Element {
  return (
    <section class="pane" aria-label={label}>
      <header>
        {title}
        {head}
      </header>
      <div class={`body ${name}`} {...body}>
        {children}
      </div>
    </section>
  );
}

/** What is wrong, said at once; nothing where nothing is. */
export function Wrong({ children }: { children: ComponentChildren }): JSX.Element | false {
  return (
    !!children && (
      <p class="mistake" role="alert">
        <bdi>{children}</bdi>
      </p>
    )
  );
}

interface Sent {
  isBusy: boolean;
  /** Of single fields. */
  mistakes: Mistake[];
  /** What is wrong with all of it; "" while nothing is. */
  problem: string;
  submit: (event: Event) => Promise<void>;
}

/** A form that is sent once for each press: `act` is given a token, which is another one when it is sent anew. */
export function useSubmit(act: (token: string) => Promise<void>): Sent {
  const [isBusy, setBusy] = useState(false);
  const [mistakes, setMistakes] = useState<Mistake[]>([]);
  const [problem, setProblem] = useState("");
  const token = useRef(key());
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    setProblem("");
    setMistakes([]);
    try {
      await act(token.current);
    } catch (error) {
      const found = error instanceof Problem ? mistakesIn(error.facts) : [];
      setMistakes(found);
      setProblem(found.length ? "" : textOf(error));
    }
    token.current = key();
    setBusy(false);
  };
  return { isBusy, mistakes, problem, submit };
}
