/** Where the page is: `#/runs/ID?seq=3&step=charge`. A hash needs nothing of the server, under whatever prefix it serves. */

import { signal } from "./signals";

export interface Place {
  /** The parts of the path, decoded. */
  parts: string[];
  query: URLSearchParams;
}

export const place = signal<Place>(read());

function read(): Place {
  const [path = "", query = ""] = split(location.hash.replace(/^#\/?/, ""));
  return { parts: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

function split(text: string): [string, string] {
  const at = text.indexOf("?");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

addEventListener("hashchange", () => {
  place.value = read();
});

type Query = Record<string, string | number | null | undefined>;

/** A link to a place of the dashboard: `link("runs", id)`. */
export function link(...parts: (string | Query)[]): string {
  const query = typeof parts.at(-1) === "object" ? (parts.pop() as Query) : {};
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value || value === 0) pairs.set(name, String(value));
  const text = pairs.toString();
  return `#/${(parts as string[]).map(encodeURIComponent).join("/")}${text && `?${text}`}`;
}

/** Go there; `isStep` makes it an entry of the browser's history. */
export function go(to: string, isStep = true): void {
  if (location.hash === to) return;
  if (isStep) location.hash = to;
  else history.replaceState(null, "", to);
  place.value = read();
}

/** Change members of the query of where the page is; null takes one away. */
export function setQuery(change: Query, isStep = false): void {
  const query = new URLSearchParams(place.peek().query);
  for (const [name, value] of Object.entries(change)) {
    if (value === null || value === undefined || value === "") query.delete(name);
    else query.set(name, String(value));
  }
  const text = query.toString();
  const path = place.peek().parts.map(encodeURIComponent).join("/") || "runs"; // the first page
  go(`#/${path}${text && `?${text}`}`, isStep);
}
