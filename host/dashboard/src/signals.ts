/** Signals, as `@preact/signals-core` has them, and what Preact has to know of them: a component that has read a signal while
 * it was drawn is drawn again when it changes.
 *
 * Each component is drawn inside an effect, which ends with the drawing that comes next, or with the component. Only what
 * Preact's and the signals' documentation names is used: `options.vnode` is called with each element that is made.
 */

import { effect } from "@preact/signals-core";
import { Fragment, options, type ComponentChildren, type FunctionComponent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

export { computed, signal, type ReadonlySignal, type Signal } from "@preact/signals-core";

/** By a component, the one that is drawn in its place. */
const tracking = new WeakMap<object, FunctionComponent>();

function track(draw: FunctionComponent): FunctionComponent {
  const Tracked: FunctionComponent = (props) => {
    const [, again] = useState({});
    const end = useRef<(() => void) | null>(null);
    let drawn: ComponentChildren;
    let isDrawn = false;
    end.current?.();
    end.current = effect(() => {
      if (isDrawn) return again({});
      isDrawn = true;
      drawn = draw(props);
    });
    useEffect(() => () => end.current!(), []);
    return drawn;
  };
  tracking.set(draw, Tracked).set(Tracked, Tracked);
  return Tracked;
}

options.vnode = (node) => {
  const { type } = node;
  if (typeof type === "function" && type !== Fragment) node.type = tracking.get(type) ?? track(type as FunctionComponent);
};
