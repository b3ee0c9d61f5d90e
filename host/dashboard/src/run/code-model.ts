/** Code that is looked at: what can be read of it, what is selected, and the log of a run of it; of a workflow before any run an empty one. */

import { computed, signal } from "../signals";
import { Log } from "./fold";
import { FAILED, SUSPENDED, type Call, type Head, type Place } from "./fold-words";

export interface ShapeItem {
  kind: string;
  id: string;
  place: string;
  text: string;
  line: number | null;
  node: string;
  arms: { text: string; items: ShapeItem[] }[];
}
export interface LineMap {
  code: string;
  map: { line: number; node: string }[];
}
export interface Shape {
  language: string;
  is_native: boolean;
  is_read: boolean;
  items: ShapeItem[];
  builder: LineMap | null;
}
export interface Source extends LineMap {
  language: string;
  /** What its tab is called. */
  title?: string;
}

/** A call, or a place with all of its calls. */
export interface Selection {
  path: string;
  call: Call | null;
  place: Place | null;
}

export class CodeModel {
  readonly log = new Log();
  /** Counts up with each batch of records that was taken. */
  readonly version = signal(0);
  /** The record that is looked at; null: the newest, whichever that is. */
  readonly seq = signal<number | null>(null);
  readonly selected = signal<string | null>(null);
  readonly shape = signal<Shape | null>(null);
  readonly source = signal<Source | null>(null);
  readonly isLive = computed(() => this.seq.value === null);
  /** Everything that is drawn is a function of this: the record that is looked at, with the cursor of the log on it. */
  readonly frame = computed(() => {
    const version = this.version.value;
    const at = Math.min(this.seq.value ?? this.log.count, this.log.count);
    this.log.to(at);
    return { at, version };
  });
  readonly selection = computed<Selection | null>(() => {
    this.version.value;
    const wanted = this.selected.value;
    if (wanted === null) return null;
    const index = this.#byPath.get(wanted);
    return { path: wanted, call: index === undefined ? null : this.log.calls[index]!, place: this.log.place(wanted) ?? null };
  });

  /** The call that the reader means: the one that is selected, or that the record is about; of the present, which failed or waits for a person. */
  meant(): Call | null {
    const { log } = this;
    const { at } = this.frame.value;
    const selection = this.selection.value;
    if (selection) return selection.call ?? (selection.place?.calls.length === 1 ? log.calls[selection.place.calls[0]!]! : null);
    if (!this.isLive.value) return log.callOf(at) ?? null;
    const status = log.runStatus();
    const wanted = status === "failed" ? FAILED : status === "suspended" ? SUSPENDED : -1;
    return log.calls.findLast((one) => log.callStatus[one.index] === wanted) ?? null;
  }

  #byPath = new Map<string, number>();
  #indexed = 0;

  select(path: string | null): void {
    this.selected.value = path;
  }

  /** Take in the next records. `version` is counted up by who has done what else comes with them. */
  protected take(heads: readonly Head[]): void {
    this.log.take(heads);
    for (; this.#indexed < this.log.calls.length; this.#indexed++) this.#byPath.set(this.log.calls[this.#indexed]!.path, this.#indexed);
  }
}
