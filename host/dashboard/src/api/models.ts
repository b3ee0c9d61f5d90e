/** What the API answers, as `/openapi.json` describes it: the members that the dashboard reads. */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

export type Status =
  | "pending"
  | "running"
  | "waiting"
  | "suspended"
  | "paused"
  | "blocked"
  | "success"
  | "failed"
  | "canceled"
  | "continued";

export const STATUSES: readonly Status[] = [
  "blocked",
  "suspended",
  "failed",
  "running",
  "pending",
  "waiting",
  "paused",
  "success",
  "canceled",
  "continued",
];
export const FINAL: ReadonlySet<string> = new Set(["success", "failed", "canceled", "continued"]);

export type Role = "worker" | "viewer" | "operator" | "admin";

export interface Me {
  id: string;
  role: Role;
  tenant: string | null;
  default_tenant: string;
}

export interface Blocked {
  reason: string;
  message: string;
  what_to_do: string;
}

/** A run's entry in listings. Times as RFC 3339. */
export interface RunOut {
  id: string;
  tenant: string;
  workflow: string;
  status: Status;
  records: number;
  head_hash: string | null;
  code: string | null;
  created_at: string | null;
  updated_at: string | null;
  wake_at: string | null;
  blocked: Blocked | null;
  is_owned: boolean;
}

export interface RunPage {
  runs: RunOut[];
  next: string | null;
}

export interface Action {
  name: string;
  description: string;
  command: string;
  call: string;
  method: string;
  href: string;
}

export interface Asked {
  step: string;
  payload: Json;
  labels: string[];
  event: string | null;
  schema: Schema | null;
}

/** Why a run does not move. Times in ms since 1970. */
export interface Why {
  run_id: string;
  kind: string;
  sentence: string;
  since: number | null;
  until: number | null;
  step: string | null;
  attempt: number | null;
  attempts_max: number | null;
  worked_ms: number | null;
  usually_ms: number | null;
  last_error: { name: string; message: string } | null;
  asked: Asked[];
  on_its_way: string[];
  worker: string | null;
  children: string[];
  tags: Record<string, string>;
  retried_as: string[];
  retry_of: string | null;
  actions: Action[];
}

export interface FailureGroup {
  tenant: string;
  workflow: string | null;
  error: string | null;
  step: string | null;
  count: number;
  first: string;
  last: string;
  example: string;
}

export interface Workflow {
  id: string;
  input_schema: Schema | null;
  is_registered: boolean;
  versions: string[];
}

export interface Version {
  id: string;
  workflow: string;
  digest: string;
  deployed_at: string;
}

export interface Schedule {
  id: string;
  tenant: string;
  workflow: string;
  when: string;
  tz: string;
  input: Json;
  overlap: string;
  catch_up: string;
  catch_up_max: number;
  jitter_s: number;
  is_paused: boolean;
  next_at: string | null;
  queued: string[];
  last_run: string | null;
  created_at: string;
}

export interface Firing {
  number: number;
  outcome: string;
  instant: string;
  at: string;
  run: string | null;
  reason: string;
  until: string | null;
  count: number;
}

export interface Usage {
  fuel: number;
  overhead_fuel: number;
  turns: number;
  wall_us: number;
  memory_kib_ms: number;
  events: number;
  steps: number;
  log_bytes: number;
  attempts: number;
  loop_us: number;
}

export interface TenantUsage {
  tenant: string;
  runs: number;
  usage: Usage;
}

export interface Started {
  id: string;
  status: Status;
}

export interface BulkOut {
  action: string;
  dry_run: boolean;
  matched: number;
  done: number;
  first: string[];
  made: string[];
  failed: { run_id: string; message: string }[];
  next: string | null;
  bulk_id: string;
}

/** The part of JSON Schema that forms are made of; everything else is typed as JSON. */
export interface Schema {
  type?: string | string[];
  title?: string;
  description?: string;
  default?: Json;
  const?: Json;
  enum?: Json[];
  format?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  anyOf?: Schema[];
  allOf?: Schema[];
  oneOf?: Schema[];
  $ref?: string;
  $defs?: Record<string, Schema>;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  examples?: Json[];
}

export interface Counted {
  count: number;
  is_whole: boolean;
}

/** How a tenant's runs stand. */
export interface Summary {
  statuses: Partial<Record<Status, Counted>>;
  oldest_suspended: string | null;
  failed_unretried: number | null;
  workers: number;
}

/** One line about a run. Times in ms since 1970. */
export interface Reason {
  run_id: string;
  status: string;
  kind: string;
  sentence: string;
  since: number | null;
  until: number | null;
  step: string | null;
  question: string | null;
  event: string | null;
  actions: string[];
  steps: { step: string; status: string }[];
  steps_count: number;
}

/** Which runs a bulk request means. */
export interface Where {
  status?: string;
  workflow?: string;
  version?: string;
  since?: string;
  until?: string;
  age?: number;
  error?: string;
  step?: string;
  tags?: Record<string, string>;
}

export interface Source {
  language: string;
  code: string;
  digest: string;
  map: { line: number; node: string }[];
}

export interface Code {
  workflow: string;
  digest: string | null;
  guest: string | null;
  is_deployed: boolean;
  input_schema: Schema | null;
  graph: { [name: string]: Json } | null;
  sources: Source[];
}

export interface CheckedRun {
  run_id: string;
  status: string;
  fits: boolean;
  is_current: boolean;
  problem: string | null;
  seq: number | null;
}

export interface CheckOut {
  workflow: string;
  digest: string;
  checked: number;
  fits: number;
  parts: number;
  current: number;
  runs: CheckedRun[];
  next: string | null;
}

export interface WorkerDetail {
  id: string;
  is_dead: boolean;
  workflows: string[] | null;
  hung_steps: number;
  runs: number;
}
