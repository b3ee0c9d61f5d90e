/** What all pages are made of: statuses, times, keys, icons, buttons that copy. */

import type { ComponentChildren, JSX } from "preact";
import { clock, fromNow, now, rough } from "../clock";
import { shownKey } from "../keys";
import { toast } from "./toast";

/** A status: a dot and its word, never colour alone. */
export function Pill({ status }: { status: string }): JSX.Element {
  return <span class={`pill st ${status}`}>{status}</span>;
}

function Time({ at, as }: { at: string | number | null; as: (ms: number) => string }): JSX.Element {
  if (at === null) return <span class="faint">–</span>;
  const ms = typeof at === "number" ? at : Date.parse(at);
  const iso = new Date(ms).toISOString();
  return (
    <time dateTime={iso} title={iso}>
      {as(ms)}
    </time>
  );
}

type When = { at: string | number | null };

/** For how long: `14 min`; the instant is its title. */
export const Ago = ({ at }: When): JSX.Element => <Time at={at} as={(ms) => rough(now.value - ms)} />;

/** In a sentence: `14 minutes ago`. */
export const FromNow = ({ at }: When): JSX.Element => <Time at={at} as={(ms) => fromNow(ms, now.value)} />;

/** An instant of the reader's clock. */
export const At = ({ at }: When): JSX.Element => <Time at={at} as={clock} />;

export function Kbd({ of }: { of: string }): JSX.Element {
  return <kbd aria-hidden="true">{shownKey(of)}</kbd>;
}

export function copy(text: string, what: string): void {
  navigator.clipboard.writeText(text).then(
    () => toast(`${what} copied`),
    () => toast(`The browser did not let ${what} be copied`, "bad"),
  );
}

/** A link that copies. `text` is made when it is asked for. */
export function Copy({ text, what, children }: { text: () => string; what: string; children: ComponentChildren }): JSX.Element {
  return (
    <button type="button" class="textlink" onClick={() => copy(text(), what)}>
      {children}
    </button>
  );
}

const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** What does not show, made to show: the separator of a run's id as `›`, control characters and marks of direction as signs. */
export function visible(text: string): string {
  return text.replaceAll(HIDDEN, (one) => {
    const code = one.charCodeAt(0);
    if (code === 0x1f) return " › ";
    if (code === 9 || code === 10 || code === 13) return " ";
    return code < 0x20 ? String.fromCharCode(0x2400 + code) : "\u25a1";
  });
}

/** A text of somebody else's: shown as it is, in its own direction, and cut off by the sheet. */
export function Text({ of, class: name }: { of: string; class?: string | undefined }): JSX.Element {
  const text = visible(of.length > 500 ? `${of.slice(0, 500)}…` : of);
  return (
    <bdi class={name} title={text}>
      {text}
    </bdi>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <p class="strong">{title}</p>
      {children}
    </div>
  );
}

const ICONS = {
  theme: (
    <>
      <circle cx="8" cy="8" r="5.4" fill="none" stroke="currentColor" stroke-width="1.4" />
      <path d="M8 2.6a5.4 5.4 0 0 1 0 10.8Z" fill="currentColor" />
    </>
  ),
  close: <path d="m4 4 8 8m0-8-8 8" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" />,
} as const;

export function Icon({ name }: { name: keyof typeof ICONS }): JSX.Element {
  return (
    <svg width="16" height="16" viewBox="0 0 16 16" fill="none" aria-hidden="true">
      {ICONS[name]}
    </svg>
  );
}

export function Brand(): JSX.Element {
  return (
    <svg viewBox="0 0 24 24" fill="none" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d="M4 18.5h16M6 18.5V12a6 6 0 0 1 12 0v6.5" />
      <circle cx="12" cy="3.8" r="1.3" />
      <path d="M12 5.1V6M12 18v-4.2m0 0c0-1.7 1-2.6 2.6-2.6 0 1.7-1 2.6-2.6 2.6Zm0 1.6c0-1.4-.9-2.2-2.3-2.2 0 1.4.9 2.2 2.3 2.2Z" />
    </svg>
  );
}
