/** All keys of the page that is open. */

import type { JSX } from "preact";
import { keyGroups } from "../keys";
import { Kbd } from "../ui/basic";
import { Dialog } from "../ui/dialog";

export function Help({ onClose }: { onClose: () => void }): JSX.Element {
  const names = [...new Set(keyGroups().map((group) => group.name))].reverse();
  return (
    <Dialog title="Keys" onClose={onClose}>
      <div class="keygroups">
        {names.map((name) => (
          <section>
            <h3>{name}</h3>
            <dl>
              {keyGroups()
                .filter((group) => group.name === name)
                .flatMap((group) => group.keys)
                .map((key) => (
                  <>
                    <dt>
                      {[key.keys].flat().map((one) => (
                        <>
                          <Kbd of={one} /> <span class="sr">{one}</span>
                        </>
                      ))}
                    </dt>
                    <dd>{key.label}</dd>
                  </>
                ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}
