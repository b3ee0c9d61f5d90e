/** Rows of one height, of which only those that are seen are in the page: a list may have a million. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

/** Where a row stands. */
export type RowStyle = { position: "absolute"; top: number; left: number; right: number; height: string; transform: string };

export interface RowsProps {
  count: number;
  /** In CSS pixels. */
  height: number;
  /** One row: it sets `style` on its outermost element. */
  row: (index: number, style: RowStyle) => ComponentChildren;
  /** A row that is kept in sight. */
  cursor?: number;
  /** How many rows above and below it are kept in sight with it. */
  around?: number;
  /** Called with the range that is seen, whenever it is another one. */
  onRange?: (first: number, last: number) => void;
  class?: string;
  label?: string;
  role?: "rowgroup" | "listbox" | "list" | "presentation";
  head?: ComponentChildren;
  /** Its rows have nothing to focus: the whole is focused, to be scrolled by keys. */
  isFocused?: boolean;
}

const BEYOND = 4; // rows above and below what is seen
const HEIGHT_MAX = 8_000_000; // a browser draws no higher element: beyond it, one pixel of scroll is more than one of rows

const UNSEEN = { top: 0, view: 600 }; // before it was measured

export function Rows({ count, height, row, cursor, around = 0, onRange, class: name, label, role, head, isFocused }: RowsProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState(UNSEEN);
  const whole = count * height;
  const drawn = Math.min(whole, HEIGHT_MAX);
  const scale = drawn > seen.view ? (whole - seen.view) / (drawn - seen.view) : 1;
  const top = Math.min(seen.top * scale, Math.max(0, whole - seen.view));
  const first = Math.max(0, Math.floor(top / height) - BEYOND);
  const last = Math.min(count, Math.ceil((top + seen.view) / height) + BEYOND);

  useLayoutEffect(() => {
    const element = box.current!;
    const look = (): void => {
      const { scrollTop, clientHeight } = element;
      setSeen((before) => (before !== UNSEEN && before.top === scrollTop && before.view === clientHeight ? before : { top: scrollTop, view: clientHeight }));
    };
    look();
    const observer = new ResizeObserver(look);
    observer.observe(element);
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", look);
    };
  }, []);
  useEffect(() => onRange?.(first, last), [first, last, count]);
  useLayoutEffect(() => {
    const element = box.current!;
    if (seen === UNSEEN || cursor === undefined || cursor < 0 || cursor >= count) return;
    const sticky = (element.firstElementChild as HTMLElement | null)?.classList.contains("rows-head") ? 28 : 0;
    const at = seen.top * scale; // what is known: to read it of the element would lay the page out twice
    let next = -1;
    const above = Math.max(0, cursor - around) * height;
    const below = Math.min(count, cursor + 1 + around) * height;
    if (above < at) next = above / scale;
    else if (below > at + seen.view - sticky) next = (below - seen.view + sticky) / scale;
    if (next < 0) return;
    setSeen({ top: next, view: seen.view });
    element.scrollTop = next;
  }, [cursor, count, seen === UNSEEN, seen.view]); // it stays in sight where the pane becomes smaller, too

  const rows: ComponentChildren[] = [];
  const shift = top - seen.top;
  for (let index = first; index < last; index++) {
    rows.push(row(index, { position: "absolute", top: 0, left: 0, right: 0, height: `${height}px`, transform: `translateY(${index * height - shift}px)` }));
  }
  return (
    <div class={`rows ${name ?? ""}`} ref={box} tabIndex={isFocused ? 0 : undefined} aria-label={isFocused ? label : undefined} role={isFocused ? "group" : undefined}>
      {head && <div class="rows-head">{head}</div>}
      <div class="rows-all" style={{ height: `${drawn}px` }} role={role} aria-label={label}>
        {rows}
      </div>
    </div>
  );
}
