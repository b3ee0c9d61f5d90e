/** What has just happened, said once at the edge of the page and to screen readers. */

import { signal } from "../signals";
import type { JSX } from "preact";
import { textOf } from "../api/client";
import { Icon } from "./basic";

interface Said {
  number: number;
  text: string;
  tone: "good" | "bad";
  href?: string;
}

const said = signal<Said[]>([]);
let number = 0;

export function toast(text: string, tone: "good" | "bad" = "good", href?: string): void {
  const one: Said = { number: ++number, text: text.slice(0, 600), tone };
  if (href !== undefined) one.href = href;
  said.value = [...said.value.slice(-2), one];
  if (tone === "good") setTimeout(() => forget(one), 6000);
}

export const toastError = (error: unknown): void => toast(textOf(error), "bad");

const forget = (one: Said): void => {
  said.value = said.value.filter((other) => other !== one);
};

export function Toasts(): JSX.Element {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {said.value.map((one) => (
        <div class={`toast ${one.tone}`} key={one.number}>
          <bdi>{one.text}</bdi>
          {one.href && <a href={one.href}>open</a>}
          <button type="button" class="icon" aria-label="Close this note" onClick={() => forget(one)}>
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}
