/** A component that is drawn again only when what it shows has changed; signals that it reads draw it all the same. */

import { h, type ComponentType, type FunctionComponent, type VNode } from "preact";
import { useRef } from "preact/hooks";

/** Functions that it is given are taken to do the same. */
export function memo<P extends object>(of: ComponentType<P>): FunctionComponent<P> {
  return (props) => {
    const drawn = useRef<VNode<P> | null>(null);
    if (!drawn.current || !areSame(drawn.current.props, props)) drawn.current = h(of as ComponentType, props) as VNode<P>;
    return drawn.current as VNode;
  };
}

const areSame = (a: object, b: object): boolean =>
  Object.entries(b).every(([name, value]) => {
    const before = (a as Record<string, unknown>)[name];
    return before === value || typeof value === "function" || (name === "style" && areSame(before as object, value));
  });
