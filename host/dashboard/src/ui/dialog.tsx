/** A dialog over the page: Esc and a click beside it close it, and the focus goes back to where it was. */

import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Icon } from "./basic";

export interface DialogProps {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  /** `side`: a drawer at the right edge. */
  kind?: "side" | "middle" | "palette";
}

export function Dialog({ title, onClose, children, kind = "middle" }: DialogProps): JSX.Element {
  const box = useRef<HTMLDialogElement>(null);
  // In the turn of the key that opens it: what is typed right after goes to the dialog.
  useLayoutEffect(() => {
    const { current } = box;
    current!.showModal();
    return () => current!.close(); // the browser gives the focus back
  }, []);
  return (
    <dialog
      ref={box}
      class={kind}
      aria-label={title}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === box.current) onClose();
      }}
    >
      <div class="inner">
        {kind !== "palette" && (
          <header>
            <h2>{title}</h2>
            <button type="button" class="icon" aria-label="Close" onClick={onClose}>
              <Icon name="close" />
            </button>
          </header>
        )}
        {children}
      </div>
    </dialog>
  );
}
