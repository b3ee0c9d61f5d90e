/** The page of one run. */

import type { JSX } from "preact";

export function RunPage({ id }: { id: string }): JSX.Element {
  return (
    <main class="scroll page">
      <h1>
        <bdi>{id}</bdi>
      </h1>
    </main>
  );
}
