/** A request as a command of a shell and as a call in Python: what is copied can be pasted. */

import { path } from "../api/client";
import type { Json } from "../api/models";

export interface StartBody {
  input: Json;
  run_id?: string;
  tags?: Record<string, string>;
}

/** A word of a shell. */
export const shell = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

export function curl(method: string, place: string, body: unknown): string {
  const url = new URL(`v1/${place}`, location.href.split("#")[0]).href;
  return `curl -X ${method} ${shell(url)} -H 'Content-Type: application/json' -H "Authorization: Bearer $CLOCHE_TOKEN" -d ${shell(JSON.stringify(body))}`;
}

export const placeOfStart = (workflow: string): string => `workflows/${path(workflow)}/runs`;

export function pythonOf(workflow: string, body: StartBody): string {
  const rest = [body.run_id && `run_id=${literal(body.run_id)}`, body.tags && `tags=${literal(body.tags)}`].filter(Boolean);
  return `run = await client.start(${[literal(workflow), literal(body.input), ...rest].join(", ")})`;
}

/** A value as Python writes it. */
export function literal(value: Json): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number" || typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  return `{${Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${literal(one)}`).join(", ")}}`;
}
