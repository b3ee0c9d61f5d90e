/** A request as it is pasted elsewhere. */

import type { Json } from "../api/models";
import { shell } from "../pages/start-copies";

export { literal, shell } from "../pages/start-copies";

export function curl(method: string, place: string, body: Json): string {
  const url = new URL(`v1/${place}`, location.href.split("#")[0]).href;
  return `curl -X ${method} ${shell(url)} -H 'Content-Type: application/json' -H "Authorization: Bearer $CLOCHE_TOKEN" -d ${shell(JSON.stringify(body))}`;
}
