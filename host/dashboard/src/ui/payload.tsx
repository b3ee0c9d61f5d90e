/** A value as JSON, coloured, and cut off where it is long: a megabyte in one field must not stop the page. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Json } from "../api/models";
import { size } from "../clock";
import { copy } from "./basic";
import { painted } from "./source";

const SHOWN_MAX = 4000;

export function Payload({ value, label }: { value: Json; label?: string }): JSX.Element {
  const [isWhole, setWhole] = useState(false);
  const text = laid(value);
  const shown = isWhole || text.length <= SHOWN_MAX ? text : text.slice(0, SHOWN_MAX);
  return (
    <div class="payload">
      {label !== undefined && (
        <h4>
          {label} <span class="mono">{size(new Blob([text]).size)}</span>
        </h4>
      )}
      <pre tabIndex={0} aria-label={label ?? "Value"}>
        {text.length > 50_000 ? shown : painted(shown, "javascript")}
      </pre>
      {shown.length < text.length && (
        <p class="cut">
          {size(text.length)} in all.{" "}
          <button type="button" class="textlink" onClick={() => setWhole(true)}>
            Show all
          </button>{" "}
          <button type="button" class="textlink" onClick={() => copy(text, "the value")}>
            Copy
          </button>
        </p>
      )}
    </div>
  );
}

/** Short values in one line, long ones in several. */
export function laid(value: Json, pad = ""): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  const entries = Array.isArray(value) ? value.map((each) => ["", each] as const) : Object.entries(value);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const name = (of: string): string => (Array.isArray(value) ? "" : `${JSON.stringify(of)}: `);
  if ((JSON.stringify(value) ?? "").length + pad.length < 54) {
    return `${open}${entries.map(([of, each]) => name(of) + laid(each, pad)).join(", ")}${close}`;
  }
  const inner = `${pad}  `;
  return `${open}\n${entries.map(([of, each]) => inner + name(of) + laid(each, inner)).join(",\n")}\n${pad}${close}`;
}
