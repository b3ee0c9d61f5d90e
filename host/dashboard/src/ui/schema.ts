/** Which part of JSON Schema becomes fields; all else is typed as JSON. The server judges either.
 *
 * Fields: string (also `enum`, `format` date, date-time and time), integer, number, boolean, `const`, objects with `properties`,
 * lists of any of these, `anyOf` of one of these and null, `$ref` into `$defs`, and `allOf` of one.
 */

import type { Json, Schema } from "../api/models";

export type Kind = "text" | "long" | "number" | "boolean" | "choice" | "constant" | "object" | "list" | "json";

export interface Field {
  kind: Kind;
  schema: Schema;
  isNullable: boolean;
}

const DEEP_MAX = 6;

/** What a schema becomes. `root` has the `$defs`; `depth` counts objects and lists around it. */
export function fieldOf(schema: Schema, root: Schema, depth = 0): Field {
  const { found, isNullable } = resolved(schema, root);
  return { kind: depth > DEEP_MAX ? "json" : kindOf(found), schema: found, isNullable };
}

function resolved(given: Schema, root: Schema): { found: Schema; isNullable: boolean } {
  let found = given;
  let isNullable = false;
  for (let step = 0; step < 20; step++) {
    const { $ref, allOf, anyOf, oneOf, ...rest } = found;
    const either = anyOf ?? oneOf;
    if ($ref !== undefined) {
      const target = root.$defs?.[decodeURIComponent($ref.replace(/^#\/\$defs\//, ""))];
      if (target === undefined) break;
      found = { ...target, ...rest };
    } else if (allOf?.length === 1) found = { ...allOf[0], ...rest };
    else if (either?.length === 2 && either.some((one) => one.type === "null")) {
      isNullable = true;
      found = { ...either.find((one) => one.type !== "null"), ...rest };
    } else if (Array.isArray(found.type) && found.type.length === 2 && found.type.includes("null")) {
      isNullable = true;
      found = { ...found, type: found.type.find((one) => one !== "null")! };
    } else break;
  }
  return { found, isNullable };
}

function kindOf(schema: Schema): Kind {
  if (schema.anyOf || schema.oneOf || schema.allOf || schema.$ref) return "json";
  if (schema.const !== undefined) return "constant";
  if (schema.enum) return "choice";
  if (schema.type === "boolean") return "boolean";
  if (schema.type === "integer" || schema.type === "number") return "number";
  if (schema.type === "string") return (schema.maxLength ?? 0) > 300 ? "long" : "text";
  if (schema.type === "object") return schema.properties ? "object" : "json";
  if (schema.type === "array") return schema.items ? "list" : "json";
  return "json";
}

/** What stands in a form before anybody has typed: defaults, and lists. undefined: nothing; nobody's yes or no is taken for granted. */
export function initial(schema: Schema, root: Schema, depth = 0): Json | undefined {
  const { kind, schema: found, isNullable } = fieldOf(schema, root, depth);
  if (found.default !== undefined) return found.default;
  if (isNullable) return null;
  if (kind === "constant") return found.const;
  if (kind === "list") return [];
  if (kind === "object") {
    const made: { [name: string]: Json } = {};
    for (const [name, one] of Object.entries(found.properties ?? {})) {
      const value = initial(one, root, depth + 1);
      const isNeeded = found.required?.includes(name) ?? false;
      if (value !== undefined && (isNeeded || one.default !== undefined)) made[name] = value;
    }
    return made;
  }
  return undefined;
}

/** `quote_ship` and `quoteShip` as people read them: `Quote ship`. */
export function labelOf(name: string, schema: Schema): string {
  const isOwn = schema.title && schema.title.replaceAll(/\W/g, "").toLowerCase() !== name.replaceAll(/\W|_/g, "").toLowerCase();
  if (isOwn) return schema.title!;
  const words = name.replaceAll(/([a-z\d])([A-Z])/g, "$1 $2").replaceAll(/[_-]+/g, " ").trim();
  return words ? words[0]!.toUpperCase() + words.slice(1) : name;
}

/** A problem that the server has named, and the path of the field it is about. */
export interface Mistake {
  path: string;
  text: string;
}

/** The problems in an `InvalidInput` of the server: `lines.0.price: must be a number`. */
export function mistakesIn(facts: Record<string, Json>): Mistake[] {
  const problems = Array.isArray(facts.problems) ? facts.problems : [];
  return problems.map((one) => {
    const text = String(one);
    const [, path, rest] = /^\s*(?:at\s+)?['"`]?([\w.[\]$-]*)['"`]?:\s+([^]*)$/.exec(text) ?? [];
    return { path: (path ?? "").replaceAll(/\[(\d+)\]/g, ".$1").replace(/^[.$]+/, ""), text: rest ?? text };
  });
}
