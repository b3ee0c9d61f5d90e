/** Values that know who reads them: a component that has read a signal while it was drawn is drawn again when it changes.
 *
 * What follows from signals is worked out when it is read (`derived`), and so nothing is ever out of date. Changes made in one
 * turn of the browser's loop are drawn together, as Preact does it.
 */

import { options, type Component, type VNode } from "preact";

interface Reader {
  changed: () => void;
  /** The readers of each signal that it has read: itself among them. */
  reads: Set<Set<Reader>>;
}

export interface ReadonlySignal<T> {
  readonly value: T;
  /** The value, without becoming a reader. */
  peek: () => T;
}

export interface Signal<T> extends ReadonlySignal<T> {
  value: T;
  /** Call `told` with the value now, and whenever it is another one. Gives what ends that. */
  subscribe: (told: (value: T) => void) => () => void;
}

let drawn: Reader | undefined; // of the component that is being drawn

export function signal<T>(value: T): Signal<T> {
  const readers = new Set<Reader>();
  return {
    get value() {
      if (drawn) {
        readers.add(drawn);
        drawn.reads.add(readers);
      }
      return value;
    },
    set value(next) {
      if (next === value) return;
      value = next;
      [...readers].forEach((one) => one.changed());
    },
    peek: () => value,
    subscribe(told) {
      const one: Reader = { changed: () => told(value), reads: new Set([readers]) };
      readers.add(one);
      one.changed();
      return () => forget(one);
    },
  };
}

export const derived = <T>(of: () => T): ReadonlySignal<T> => ({
  get value() {
    return of();
  },
  peek() {
    const before = drawn;
    drawn = undefined;
    const value = of();
    drawn = before;
    return value;
  },
});

function forget(reader: Reader | undefined): void {
  reader?.reads.forEach((readers) => readers.delete(reader));
  reader?.reads.clear();
}

// Where Preact's own hooks stand too: `__r` is called before a component is drawn, `diffed` once it and what is in it are.
type Node = VNode & { __c?: Component & { reader?: Reader } };
const hooks = options as { __r?: (node: Node) => void; diffed?: (node: Node) => void; unmount?: (node: Node) => void };
const { __r: before, diffed, unmount } = hooks;

hooks.__r = (node) => {
  before?.(node);
  const component = node.__c!;
  forget(component.reader);
  drawn = component.reader ??= { changed: () => component.setState({}), reads: new Set() };
};

hooks.diffed = (node) => {
  drawn = undefined;
  diffed?.(node);
};

hooks.unmount = (node) => {
  unmount?.(node);
  forget(node.__c?.reader);
};
