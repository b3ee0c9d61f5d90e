/** Requests to the API of the server that served this page: relative to it, under whatever prefix it is mounted. */

import { signal } from "../signals";
import type { Json } from "./models";

/** What the server refused, in the form of RFC 9457. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    detail: string,
    readonly whatToDo: string,
    readonly facts: Record<string, Json> = {},
  ) {
    super(detail);
  }
}

/** The tenant that requests are about; null: the one that the server takes by itself. */
export const tenant = signal<string | null>(null);
/** Whether the server wants to know who asks. */
export const isSignedOut = signal(false);
/** Milliseconds that the server's clock is ahead of this one. */
export const clockSkew = signal(0);

let token: string | null = null; // where the browser keeps no cookie for this address: until the page is left

export const setToken = (value: string | null): void => {
  token = value;
};

function headersOf(more: Record<string, string>, isOfAll: boolean): Headers {
  const headers = new Headers(more);
  if (tenant.peek() !== null && !isOfAll) headers.set("Cloche-Tenant", latin1(tenant.peek()!));
  if (token !== null) headers.set("Authorization", `Bearer ${token}`);
  return headers;
}

/** A header holds bytes: those of UTF-8, as the server reads them. */
const latin1 = (text: string): string => String.fromCharCode(...new TextEncoder().encode(text));

export interface Options {
  method?: string;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Of all tenants that are reached: the request names none. */
  isOfAll?: boolean;
}

/** The answer to a request, as JSON; `path` is below `v1/`.
 *
 * Throws `Problem` where the server refuses, and where it is not reached (status 0).
 */
export async function ask<T>(path: string, options: Options = {}): Promise<T> {
  const response = await send(path, options);
  return (response.status === 204 ? null : await response.json()) as T;
}

export async function send(path: string, options: Options = {}): Promise<Response> {
  const headers = headersOf({ Accept: "application/json", ...options.headers }, options.isOfAll ?? false);
  const init: RequestInit = { method: options.method ?? "GET", headers, cache: "no-cache", credentials: "same-origin" };
  if (options.signal) init.signal = options.signal;
  if (options.body !== undefined) {
    headers.set("Content-Type", "application/json");
    init.body = JSON.stringify(options.body);
  }
  let response: Response;
  try {
    response = await fetch(`v1/${path}`, init);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Problem(0, "not reached", "The server cannot be reached.", "it is asked again by itself");
  }
  const date = Date.parse(response.headers.get("date") ?? "");
  if (date && Math.abs(date - Date.now()) > 3000) clockSkew.value = date - Date.now();
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (response.status === 401) isSignedOut.value = true;
  throw problem;
}

async function problemOf(response: Response): Promise<Problem> {
  const fallback = new Problem(response.status, `HTTP ${response.status}`, `The server answered ${response.status}.`, "");
  try {
    const { title, detail, what_to_do, ...facts } = await response.json();
    return new Problem(response.status, title, detail ?? fallback.message, what_to_do ?? "", facts);
  } catch {
    return fallback;
  }
}

/** A path of parts that may hold anything. */
export const path = (...parts: string[]): string => parts.map(encodeURIComponent).join("/");

/** `?a=1&b=2` of what is there; a list gives its name once for each. */
export function query(of: Record<string, string | number | boolean | readonly string[] | null | undefined>): string {
  const pairs = new URLSearchParams();
  for (const [name, value] of Object.entries(of)) {
    if (Array.isArray(value)) for (const one of value) pairs.append(name, one);
    else if (value !== null && value !== undefined && value !== "") pairs.set(name, String(value));
  }
  const text = pairs.toString();
  return text && `?${text}`;
}

/** What the same request has in its `Idempotency-Key` each time it is sent. */
export const key = (): string => crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].join("-");

export const textOf = (error: unknown): string => {
  if (error instanceof Problem) return error.whatToDo ? `${error.message} To do: ${error.whatToDo}.` : error.message;
  return error instanceof Error ? error.message : String(error);
};
