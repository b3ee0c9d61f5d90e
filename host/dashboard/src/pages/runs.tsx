/** The runs of the tenant. */

import type { JSX } from "preact";

export function Runs(): JSX.Element {
  return <main class="page" />;
}
