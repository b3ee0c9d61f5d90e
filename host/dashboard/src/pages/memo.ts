/** A component that is drawn again only when what it shows has changed; signals that it reads draw it all the same. */

import { Component, createElement, type ComponentType, type VNode } from "preact";

export function memo<P extends object>(of: ComponentType<P>, areSame: (before: P, after: P) => boolean): ComponentType<P> {
  return class Memo extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      return !areSame(this.props as P, next);
    }
    override render(): VNode {
      return createElement(of as ComponentType<object>, this.props as object);
    }
  };
}
