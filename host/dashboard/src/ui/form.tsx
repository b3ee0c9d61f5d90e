/** A form made of a JSON Schema, with the same value as JSON beside it. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { Wrong } from "./parts";
import type { Json, Schema } from "../api/models";
import { fieldOf, initial, labelOf, type Field, type Mistake } from "./schema";

export interface FormProps {
  schema: Schema | null;
  /** What it begins with, in place of the schema's defaults. */
  value?: Json | undefined;
  /** Called with each change; `isOk` is false while what is typed as JSON is none. */
  onChange: (value: Json | undefined, isOk: boolean) => void;
  mistakes?: readonly Mistake[];
  /** What the whole is called: of a value that is no object. */
  label?: string;
}

let numbers = 0;

/** The value as fields, or as JSON where the schema has no fields for it or the reader likes that better. */
export function ValueForm({ schema, value: given, onChange, mistakes = [], label = "Value" }: FormProps): JSX.Element {
  const root = schema ?? {};
  const field = useMemo(() => fieldOf(root, root), [schema]);
  const hasFields = field.kind !== "json";
  const [value, setValue] = useState<Json | undefined>(() => (given !== undefined ? given : initial(root, root)));
  const [text, setText] = useState<string | null>(hasFields ? null : shownAs(value));
  const [problem, setProblem] = useState("");
  const id = useRef(`json-${++numbers}`).current;
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => onChange(value, true), []);
  useLayoutEffect(() => {
    const field = box.current?.closest("dialog") && box.current.querySelector<HTMLElement>("input, select, textarea, .row button");
    field?.focus();
  }, []);

  const change = (next: Json | undefined): void => {
    setValue(next);
    onChange(next, true);
  };
  const type = (next: string): void => {
    setText(next);
    try {
      const parsed = next.trim() ? (JSON.parse(next) as Json) : undefined;
      setProblem("");
      change(parsed);
    } catch (error) {
      setProblem((error as Error).message);
      onChange(value, false);
    }
  };
  return (
    <div class="valueform" ref={box}>
      {hasFields && (
        <div class="seg as" role="group" aria-label="How the value is given">
          <button type="button" aria-pressed={text === null} disabled={problem !== ""} onClick={() => setText(null)}>
            Form
          </button>
          <button type="button" aria-pressed={text !== null} onClick={() => setText(shownAs(value))}>
            JSON
          </button>
        </div>
      )}
      {text !== null ? (
        <div class="jsonfield">
          <label for={id}>{label} as JSON</label>
          <textarea id={id} class="mono" spellcheck={false} rows={Math.min(16, Math.max(3, text.split("\n").length + 1))} value={text} aria-invalid={problem !== ""} aria-describedby={`${id}-why`} onInput={(event) => type(event.currentTarget.value)} />
          <p id={`${id}-why`} class="mistake" aria-live="polite">
            {problem}
          </p>
        </div>
      ) : (
        <Value name={label} path="" field={field} root={root} value={value} isNeeded depth={0} mistakes={mistakes} onChange={change} />
      )}
      {mistakes
        .filter((one) => text !== null || !one.path)
        .map((one) => (
          <Wrong>{one.path && <code>{one.path}</code>} {one.text}</Wrong>
        ))}
    </div>
  );
}

const shownAs = (value: Json | undefined): string => (value === undefined ? "" : JSON.stringify(value, null, 2));

interface ValueProps {
  name: string;
  path: string;
  field: Field;
  root: Schema;
  value: Json | undefined;
  isNeeded: boolean;
  depth: number;
  mistakes: readonly Mistake[];
  onChange: (value: Json | undefined) => void;
}

function Value(props: ValueProps): JSX.Element {
  if (props.field.kind === "object") return <Members {...props} />;
  if (props.field.kind === "list") return <List {...props} />;
  return <Row {...props} />;
}

function Members({ name, path, field, root, value, depth, mistakes, onChange }: ValueProps): JSX.Element {
  const there = (value && typeof value === "object" && !Array.isArray(value) ? value : {}) as { [name: string]: Json };
  const rows = Object.entries(field.schema.properties ?? {}).map(([member, schema]) => (
    <Value
      key={member}
      name={labelOf(member, schema)}
      path={path ? `${path}.${member}` : member}
      field={fieldOf(schema, root, depth + 1)}
      root={root}
      value={there[member]}
      isNeeded={field.schema.required?.includes(member) ?? false}
      depth={depth + 1}
      mistakes={mistakes}
      onChange={(next) => {
        const { [member]: _, ...rest } = there;
        onChange(next === undefined ? rest : { ...there, [member]: next });
      }}
    />
  ));
  if (depth === 0) return <div class="fields">{rows}</div>;
  return (
    <fieldset class="fields">
      <legend>{name}</legend>
      {rows}
    </fieldset>
  );
}

function List({ name, path, field, root, value, depth, mistakes, onChange }: ValueProps): JSX.Element {
  const items = Array.isArray(value) ? value : [];
  const schema = field.schema.items ?? {};
  return (
    <fieldset class="fields list">
      <legend>{name}</legend>
      {items.map((item, index) => (
        <div class="item" key={index}>
          <Value
            name={`${name} ${index + 1}`}
            path={path ? `${path}.${index}` : String(index)}
            field={fieldOf(schema, root, depth + 1)}
            root={root}
            value={item}
            isNeeded
            depth={depth + 1}
            mistakes={mistakes}
            onChange={(next) => onChange(items.map((one, at) => (at === index ? (next ?? null) : one)))}
          />
          <button type="button" class="icon" aria-label={`Take ${name} ${index + 1} away`} onClick={() => onChange(items.filter((_, at) => at !== index))}>
            ×
          </button>
        </div>
      ))}
      <button type="button" class="btn small" onClick={() => onChange([...items, initial(schema, root, depth + 1) ?? empty(fieldOf(schema, root))])}>
        Add to {name.toLowerCase()}
      </button>
    </fieldset>
  );
}

const empty = (field: Field): Json => (field.kind === "number" ? 0 : field.kind === "text" || field.kind === "long" ? "" : null);

function Row(props: ValueProps): JSX.Element {
  const id = useRef(`field-${++numbers}`).current;
  const { name, path, field, isNeeded, mistakes } = props;
  const own = mistakes.filter((one) => one.path === path && path);
  const about = isInside(field) ? "" : field.schema.description;
  return (
    <div class="row">
      <Label id={id} isOfGroup={field.kind === "boolean"}>
        {name}
        {isNeeded || field.isNullable ? "" : <span class="faint"> optional</span>}
      </Label>
      <div>
        <Control {...props} id={id} />
        {about && <p class="about">{about}</p>}
        {own.map((one) => (
          <Wrong>{one.text}</Wrong>
        ))}
      </div>
    </div>
  );
}

/** A group of buttons has its name beside it: a label would take the place of a button's own. */
function Label({ id, isOfGroup, children }: { id: string; isOfGroup: boolean; children: ComponentChildren }): JSX.Element {
  if (isOfGroup)
    return (
      <span class="label" id={`${id}-label`}>
        {children}
      </span>
    );
  return (
    <label for={id} id={`${id}-label`}>
      {children}
    </label>
  );
}

/** Whether what a field is about stands in it while it is empty. */
const isInside = ({ kind, schema }: Field): boolean => kind === "text" && !hint(schema);

const INPUTS: Record<string, string> = { date: "date", time: "time", email: "email" };

function Control({ id, field, value, isNeeded, onChange }: ValueProps & { id: string }): JSX.Element {
  const { schema, kind, isNullable } = field;
  const nothing = isNullable ? null : undefined;
  const common = { id, placeholder: isInside(field) ? schema.description : hint(schema), "aria-description": schema.description };
  if (kind === "boolean") return <Switch id={id} value={value} isOptional={!isNeeded || isNullable} nothing={nothing} onChange={onChange} />;
  if (kind === "constant") return <code id={id}>{JSON.stringify(schema.const)}</code>;
  if (kind === "choice") {
    const at = (schema.enum ?? []).findIndex((one) => JSON.stringify(one) === JSON.stringify(value));
    return (
      <select id={id} value={String(at)} onChange={(event) => onChange(schema.enum?.[Number(event.currentTarget.value)] ?? nothing)}>
        <option value="-1">{isNeeded && !isNullable ? "choose…" : "–"}</option>
        {(schema.enum ?? []).map((one, index) => (
          <option value={String(index)}>{typeof one === "string" ? one : JSON.stringify(one)}</option>
        ))}
      </select>
    );
  }
  if (kind === "number") {
    const read = (text: string): void => onChange(text === "" ? nothing : Number(text));
    return <input {...common} type="number" step={schema.type === "integer" ? 1 : "any"} min={schema.minimum} max={schema.maximum} value={typeof value === "number" ? String(value) : ""} onInput={(event) => read(event.currentTarget.value)} />;
  }
  if (kind === "json") return <JsonField id={id} value={value} nothing={nothing} onChange={onChange} />;
  const text = typeof value === "string" ? value : "";
  const read = (next: string): void => onChange(next === "" && (!isNeeded || isNullable) ? nothing : next);
  if (kind === "long") return <textarea {...common} rows={4} value={text} maxLength={schema.maxLength} onInput={(event) => read(event.currentTarget.value)} />;
  return <input {...common} type={(INPUTS[schema.format ?? ""] ?? "text") as "text"} value={text} maxLength={schema.maxLength} autocomplete="off" onInput={(event) => read(event.currentTarget.value)} />;
}

function hint(schema: Schema): string {
  if (schema.examples?.length) return String(schema.examples[0]);
  return schema.format === "date-time" ? "2026-11-28T18:21:12Z" : "";
}

function Switch({ id, value, isOptional, nothing, onChange }: { id: string; value: Json | undefined; isOptional: boolean; nothing: null | undefined; onChange: (value: Json | undefined) => void }): JSX.Element {
  const choices: [string, Json | undefined][] = [["Yes", true], ["No", false]];
  if (isOptional) choices.push(["–", nothing]);
  return (
    <span class="seg" role="group" aria-labelledby={`${id}-label`}>
      {choices.map(([label, one]) => (
        <button type="button" aria-pressed={value === one || (one === nothing && isOptional && typeof value !== "boolean")} onClick={() => onChange(one)}>
          {label}
        </button>
      ))}
    </span>
  );
}

function JsonField({ id, value, nothing, onChange }: { id: string; value: Json | undefined; nothing: null | undefined; onChange: (value: Json | undefined) => void }): JSX.Element {
  const [text, setText] = useState(value === undefined || value === null ? "" : JSON.stringify(value));
  const [isBad, setBad] = useState(false);
  const read = (next: string): void => {
    setText(next);
    try {
      onChange(next.trim() ? (JSON.parse(next) as Json) : nothing);
      setBad(false);
    } catch {
      setBad(true);
    }
  };
  return <textarea id={id} class="mono" rows={2} spellcheck={false} placeholder="JSON" value={text} aria-invalid={isBad} onInput={(event) => read(event.currentTarget.value)} />;
}
