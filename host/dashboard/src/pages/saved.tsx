/** Filters that this browser keeps under a name. A filter itself is in the URL: to share it is to share the address. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { keep, kept } from "../kept";
import { go, link } from "../router";
import { Dialog } from "../ui/dialog";
import { toast } from "../ui/toast";

const KEPT = "filters";

function filtersKept(): Record<string, string> {
  try {
    return { ...JSON.parse(kept(KEPT) ?? "{}") };
  } catch {
    return {};
  }
}

export function SavedFilters({ text }: { text: string }): JSX.Element {
  const [isOpen, setOpen] = useState(false);
  const [filters, setFilters] = useState(filtersKept);
  const [name, setName] = useState("");
  const change = (next: Record<string, string>): void => {
    if (!keep(KEPT, JSON.stringify(next))) toast("This browser keeps nothing for this page", "bad");
    setFilters(next);
  };
  return (
    <>
      <button type="button" class="btn" aria-haspopup="dialog" title="Filters that this browser keeps" onClick={() => (setFilters(filtersKept()), setOpen(true))}>
        Filters
      </button>
      {isOpen && (
        <Dialog title="Saved filters" onClose={() => setOpen(false)}>
          {Object.keys(filters).length === 0 && <p class="dim">None is kept in this browser yet.</p>}
          <ul class="saved">
            {Object.entries(filters).map(([one, q]) => (
              <li key={one}>
                <button
                  type="button"
                  class="btn"
                  onClick={() => {
                    setOpen(false);
                    go(link("runs", { q }));
                  }}
                >
                  <bdi>{one}</bdi>
                </button>
                <code>{q || "all runs"}</code>
                <button
                  type="button"
                  class="icon"
                  aria-label={`Forget the filter ${one}`}
                  onClick={() => {
                    const { [one]: _, ...rest } = filters;
                    change(rest);
                  }}
                >
                  ×
                </button>
              </li>
            ))}
          </ul>
          <form
            class="saveform"
            onSubmit={(event) => {
              event.preventDefault();
              change({ ...filters, [name.trim()]: text });
              setName("");
            }}
          >
            <label for="filter-name">
              Keep <code>{text || "all runs"}</code> as
            </label>
            <input id="filter-name" required maxLength={60} value={name} onInput={(event) => setName(event.currentTarget.value)} />
            <button class="btn" type="submit" disabled={!name.trim()}>
              Keep
            </button>
          </form>
        </Dialog>
      )}
    </>
  );
}
