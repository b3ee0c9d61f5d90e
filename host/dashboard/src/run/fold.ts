/** The fold: what a run was at any record, as a pure function of the heads of its log. No DOM, no network, no clock.
 *
 * `Log` takes heads in, once and in order. `Log.to(seq)` moves its cursor, forth or back: it costs a few array writes for each
 * record between, so that a log of 100,000 is crossed in milliseconds. `stateOf` says the whole state as data, as
 * `cloche.history.fold` does in Python: a golden table holds the two together.
 */

import { close, moveCall } from "./fold-call.ts";
import {
  ABSENT, AWAY, BEGINS, CANCELED, ENDS, FAILED, MOVES, OPEN, OVER, PHASES, QUEUED, RUNNING, STATUSES, SUCCESS, TURNS, WAITING, WIDTH,
  isUnder, placeOf,
  type Block, type Call, type CallState, type Facts, type Failure, type Head, type Place, type Status,
} from "./fold-words.ts";

type Numbers = Float64Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

export class Log {
  /** How many records there are; their numbers are 1 to this. */
  count = 0;
  readonly calls: Call[] = [];
  readonly blocks: Block[] = [];
  readonly places: Place[] = [];
  readonly kinds: string[] = [];
  /** The record at which the cursor stands. */
  at = 0;
  /** By place: how many calls and turns stand how (`STATUSES`), and how many open calls stand there or below. */
  items = new Int32Array(0);
  inside = new Int32Array(0);
  /** By place: the status of the block that is all of it. */
  whole = new Uint8Array(0);
  /** By call and by block: the status at the cursor. */
  callStatus = new Uint8Array(0);
  blockStatus = new Uint8Array(0);
  /** How many open calls stand how, at the cursor. */
  readonly standing = new Int32Array(OPEN);
  /** The record that ended the run, and its error. */
  over: [number, Failure | null] | null = null;

  #kind = new Uint8Array(0);
  #time = new Float64Array(0);
  #call = new Int32Array(0);
  #block = new Int32Array(0);
  #from = new Uint8Array(0);
  #to = new Uint8Array(0);
  #phase = new Uint8Array(0);
  #busy = new Float64Array(0);
  #work = new Float64Array(0);
  #facts = new Map<number, Facts>();
  #closes = new Map<number, [number, number][]>(); // calls that a record ends beside the one it names, as they stood
  #blocksClosed = new Map<number, number[]>();
  #kindIndex = new Map<string, number>();
  #callIndex = new Map<number, number>();
  #blockIndex = new Map<string, number>();
  #placeIndex = new Map<string, number>();
  #end = { status: [] as number[], open: new Set<number>(), blocks: new Set<number>(), busy: 0, since: new Map<number, number>() };
  #timed = 0; // at the cursor
  #tags: [number, Facts][] = [];
  #deadlines: [number, number | null][] = [];

  // ---- what a record is

  kindOf(seq: number): string {
    return this.kinds[this.#kind[seq]!] ?? "";
  }
  timeOf(seq: number): number {
    return this.#time[seq] ?? 0;
  }
  factsOf(seq: number): Facts {
    return this.#facts.get(seq) ?? NOTHING;
  }
  callOf(seq: number): Call | undefined {
    return this.calls[this.#call[seq]!];
  }
  blockOf(seq: number): Block | undefined {
    return this.blocks[this.#block[seq]!];
  }
  /** The path that a record is about; "" of one about the run. */
  pathOf(seq: number): string {
    return (this.callOf(seq) ?? this.blockOf(seq))?.path ?? "";
  }
  place(path: string): Place | undefined {
    return this.places[this.#placeIndex.get(path) ?? -1];
  }
  phaseOf(seq: number): string {
    return PHASES[this.#phase[seq]!] ?? "pending";
  }
  /** How long something was queued or at work, up to a record. */
  busyOf(seq: number): number {
    return this.#busy[seq] ?? 0;
  }

  /** How long steps have worked, in all, up to a record: attempts that were over by then. */
  workOf(seq: number): number {
    return this.#work[seq] ?? 0;
  }

  /** Whether something is queued or at work at the end of the log. */
  get isBusy(): boolean {
    return this.#end.busy > 0;
  }

  // ---- taking heads in

  /** Take in the next records. Those that were taken before are passed over; after a gap nothing is taken. */
  take(heads: readonly Head[]): number {
    let taken = 0;
    for (const head of heads) {
      if (head[0] !== this.count + 1) continue;
      this.#takeOne(head);
      taken += 1;
    }
    return taken;
  }

  #takeOne([seq, kind, time, call, path, facts]: Head): void {
    this.#grow(seq);
    const end = this.#end;
    this.count = seq;
    this.#kind[seq] = this.#internKind(kind);
    this.#time[seq] = Math.max(time, this.#time[seq - 1]!);
    this.#busy[seq] = this.#busy[seq - 1]! + (end.busy ? Math.max(0, time - this.#time[seq - 1]!) : 0);
    this.#work[seq] = this.#work[seq - 1]!;
    this.#phase[seq] = this.#phase[seq - 1]!;
    this.#call[seq] = this.#block[seq] = -1;
    this.#from[seq] = this.#to[seq] = ABSENT;
    if (facts) this.#facts.set(seq, facts);
    if (call !== null) this.#takeCall(seq, kind, call, path ?? "", facts ?? NOTHING);
    else if (kind === "entered" && path !== null) this.#enter(seq, path);
    else if (kind === "left" && path !== null) this.#leave(seq, path, facts ?? NOTHING);
    else this.#takeRun(seq, kind, facts ?? NOTHING);
  }

  #takeCall(seq: number, kind: string, number: number, path: string, facts: Facts): void {
    const begins = BEGINS[kind];
    if (begins) {
      const isTimed = begins[0] === "timer" || (begins[0] === "hook" && "heartbeat" in facts);
      const place = this.#placed(path);
      const index = this.calls.length;
      const name = (facts.name as string | undefined) ?? path;
      this.calls.push({ index, call: number, kind: begins[0], name, path, place, seqs: [seq], run: (facts.run as string | undefined) ?? null, isTimed, closed: 0 });
      this.places[place]!.calls.push(index);
      this.#callIndex.set(number, index);
      this.#growCalls();
      this.#step(seq, index, ABSENT, begins[1]);
      return;
    }
    const index = this.#callIndex.get(number);
    if (index === undefined) return;
    const found = this.calls[index]!;
    this.#call[seq] = index;
    found.seqs.push(seq);
    if (found.closed) return; // a late result, or what a step still wrote
    const before = this.#end.status[index]!;
    const after = facts.error !== undefined && kind in ENDS ? FAILED : (ENDS[kind] ?? MOVES[kind] ?? before);
    if (after >= OPEN) found.closed = seq;
    if (after !== before) this.#step(seq, index, before, after);
  }

  #step(seq: number, index: number, before: number, after: number): void {
    this.#call[seq] = index;
    this.#from[seq] = before;
    this.#to[seq] = after;
    this.#ends(index, before, after);
  }

  /** The call stands like this at the end of the log. */
  #ends(index: number, before: number, after: number): void {
    const end = this.#end;
    end.status[index] = after;
    if (after <= AWAY && after !== QUEUED) end.since.set(index, this.#time[this.count]!);
    else if (end.since.has(index)) {
      this.#work[this.count]! += this.#time[this.count]! - end.since.get(index)!;
      end.since.delete(index);
    }
    end.busy += (after <= AWAY ? 1 : 0) - (before <= AWAY ? 1 : 0);
    if (after < OPEN) end.open.add(index);
    else end.open.delete(index);
  }

  #closeAll(seq: number, indexes: number[]): void {
    if (!indexes.length) return;
    this.#closes.set(seq, indexes.map((index) => [index, this.#end.status[index]!]));
    for (const index of indexes) {
      this.calls[index]!.closed = seq;
      this.#ends(index, this.#end.status[index]!, CANCELED);
    }
  }

  #enter(seq: number, path: string): void {
    const index = this.blocks.length;
    const place = this.#placed(path);
    this.blocks.push({ index, path, place, isWhole: this.places[place]!.path === path, seq, closed: 0, status: RUNNING, error: null });
    this.places[place]!.blocks.push(index);
    this.#blockIndex.set(path, index);
    this.#growCalls();
    this.#block[seq] = index;
    this.#end.blocks.add(index);
  }

  #leave(seq: number, path: string, facts: Facts): void {
    this.#closeAll(seq, [...this.#end.open].filter((index) => isUnder(this.calls[index]!.path, path)));
    const block = this.blocks[this.#blockIndex.get(path) ?? -1];
    if (!block || block.closed) return;
    this.#block[seq] = block.index;
    this.#endBlock(block, seq, facts.error === undefined ? SUCCESS : FAILED, (facts.error as Failure | undefined) ?? null);
  }

  #endBlock(block: Block, seq: number, status: number, error: Failure | null): void {
    block.closed = seq;
    block.status = status;
    block.error = error;
    this.#end.blocks.delete(block.index);
    const others = this.#blocksClosed.get(seq);
    if (others) others.push(block.index);
    else this.#blocksClosed.set(seq, [block.index]);
  }

  #takeRun(seq: number, kind: string, facts: Facts): void {
    if (facts.tags) this.#tags.push([seq, facts.tags as Facts]);
    if (kind === "run_created" || kind === "deadline_set") this.#deadlines.push([seq, (facts.deadline as number | undefined) ?? null]);
    const phase = OVER[kind] ?? TURNS[kind];
    if (phase === undefined) return;
    this.#phase[seq] = PHASES.indexOf(phase as (typeof PHASES)[number]);
    if (!(kind in OVER)) return;
    this.over = [seq, (facts.error as Failure | undefined) ?? null];
    this.#closeAll(seq, [...this.#end.open]);
    for (const index of [...this.#end.blocks]) this.#endBlock(this.blocks[index]!, seq, CANCELED, null);
  }

  // ---- the cursor

  /** Move the cursor to a record. */
  to(seq: number): void {
    const target = Math.max(0, Math.min(this.count, seq));
    while (this.at < target) this.#forth(++this.at);
    while (this.at > target) this.#back(this.at--);
  }

  #forth(seq: number): void {
    if (this.#from[seq] !== this.#to[seq]) this.#shift(this.#call[seq]!, this.#from[seq]!, this.#to[seq]!);
    else if (this.#block[seq]! >= 0 && this.blocks[this.#block[seq]!]!.seq === seq) this.#shiftBlock(this.#block[seq]!, ABSENT, RUNNING);
    for (const [index, before] of this.#closes.get(seq) ?? EMPTY) this.#shift(index, before, CANCELED);
    for (const index of this.#blocksClosed.get(seq) ?? EMPTY_NUMBERS) this.#shiftBlock(index, RUNNING, this.blocks[index]!.status);
  }

  #back(seq: number): void {
    for (const index of this.#blocksClosed.get(seq) ?? EMPTY_NUMBERS) this.#shiftBlock(index, this.blocks[index]!.status, RUNNING);
    for (const [index, before] of this.#closes.get(seq) ?? EMPTY) this.#shift(index, CANCELED, before);
    if (this.#from[seq] !== this.#to[seq]) this.#shift(this.#call[seq]!, this.#to[seq]!, this.#from[seq]!);
    else if (this.#block[seq]! >= 0 && this.blocks[this.#block[seq]!]!.seq === seq) this.#shiftBlock(this.#block[seq]!, RUNNING, ABSENT);
  }

  #shift(index: number, before: number, after: number): void {
    const call = this.calls[index]!;
    this.callStatus[index] = after;
    this.#count(call.place, before, -1);
    this.#count(call.place, after, 1);
    if (call.isTimed) this.#timed += (after === WAITING ? 1 : 0) - (before === WAITING ? 1 : 0);
  }

  #count(place: number, status: number, by: number): void {
    if (status === ABSENT) return;
    this.items[place * WIDTH + status]! += by;
    if (status >= OPEN) return;
    this.standing[status]! += by;
    this.inside[place * OPEN + status]! += by;
    for (const above of this.places[place]!.above) this.inside[above * OPEN + status]! += by;
  }

  #shiftBlock(index: number, before: number, after: number): void {
    const block = this.blocks[index]!;
    this.blockStatus[index] = after;
    if (block.isWhole) this.whole[block.place] = after;
    else {
      if (before !== ABSENT) this.items[block.place * WIDTH + before]! -= 1;
      if (after !== ABSENT) this.items[block.place * WIDTH + after]! += 1;
    }
  }

  /** How a place stands at the cursor; `idle`: it was not reached. */
  placeStatus(index: number): Status | "idle" {
    for (let status = 0; status < OPEN; status++) if (this.inside[index * OPEN + status]) return STATUSES[status]!;
    const whole = this.whole[index]!;
    if (whole !== ABSENT) return STATUSES[whole]!;
    for (const status of [RUNNING, FAILED, SUCCESS, CANCELED]) if (this.items[index * WIDTH + status]) return STATUSES[status]!;
    return "idle";
  }

  /** How the run stands at the cursor, in the words of cloche's statuses. Whether it is blocked stands in no record. */
  runStatus(): string {
    const phase = this.phaseOf(this.at);
    if (phase !== "running" && phase !== "canceling") return phase === "cleaning" ? "running" : phase;
    const [queued, running, away, retry, suspended, waiting, child] = this.standing as unknown as number[];
    if (queued! + running! + child! > 0 || queued! + running! + away! + retry! + suspended! + waiting! + child! === 0) return "running";
    return suspended! > 0 && retry! === 0 && this.#timed === 0 ? "suspended" : "waiting";
  }

  // ---- one call, and all of it

  /** A call as it stood at a record, from its own few records; null: it was not called yet. */
  callAt(index: number, seq: number): CallState | null {
    const call = this.calls[index]!;
    const first = call.seqs[0]!;
    if (first > seq) return null;
    const [, status, what] = BEGINS[this.kindOf(first)]!;
    const facts = this.factsOf(first);
    const time = this.timeOf(first);
    const due = call.kind === "hook" ? (facts.heartbeat === undefined ? null : time + (facts.heartbeat as number)) : ((facts.due as number | undefined) ?? null);
    const state: CallState = {
      call: call.call, kind: call.kind, name: call.name, path: call.path, seq: first, status: STATUSES[status]!, called_at: time, since: time,
      ended_at: null, ended_seq: null, attempt: 0, due, error: null, run: call.run, segments: [[what, time, null]],
    };
    for (const one of call.seqs) {
      if (one > seq || (call.closed && one >= call.closed)) break;
      moveCall(state, this.kindOf(one), this.timeOf(one), this.factsOf(one));
    }
    if (call.closed && call.closed <= seq) this.#endCall(state, call);
    return state;
  }

  #endCall(state: CallState, call: Call): void {
    const time = this.timeOf(call.closed);
    const isOwn = this.#call[call.closed] === call.index && this.kindOf(call.closed) in ENDS;
    const error = isOwn ? ((this.factsOf(call.closed).error as Failure | undefined) ?? null) : null;
    const status = isOwn ? (error !== null ? FAILED : ENDS[this.kindOf(call.closed)]!) : CANCELED;
    const last = state.segments.at(-1)!;
    close(state, time);
    if (status === FAILED && last[0] === "work") last[0] = "failed";
    Object.assign(state, { status: STATUSES[status], since: time, ended_at: time, ended_seq: call.closed, due: null, error: status === FAILED ? error : null });
  }

  tagsAt(seq: number): Facts {
    const tags: Facts = {};
    for (const [at, more] of this.#tags) {
      if (at > seq) break;
      for (const [name, value] of Object.entries(more)) {
        if (value === null) delete tags[name];
        else tags[name] = value;
      }
    }
    return tags;
  }

  deadlineAt(seq: number): number | null {
    return this.#deadlines.findLast(([at]) => at <= seq)?.[1] ?? null;
  }

  // ---- room

  #internKind(kind: string): number {
    let index = this.#kindIndex.get(kind);
    if (index === undefined) {
      index = this.kinds.push(kind) - 1;
      this.#kindIndex.set(kind, index);
    }
    return index;
  }

  #placed(path: string): number {
    const place = placeOf(path);
    const known = this.#placeIndex.get(place);
    if (known !== undefined) return known;
    const above: number[] = [];
    for (let at = place.indexOf("/"); at >= 0; at = place.indexOf("/", at + 1)) above.push(this.#placed(place.slice(0, at)));
    const index = this.places.push({ index: this.places.length, path: place, above, calls: [], blocks: [] }) - 1;
    this.#placeIndex.set(place, index);
    this.items = grown(this.items, (index + 1) * WIDTH);
    this.inside = grown(this.inside, (index + 1) * OPEN);
    this.whole = grown(this.whole, index + 1, ABSENT);
    return index;
  }

  #growCalls(): void {
    this.callStatus = grown(this.callStatus, this.calls.length, ABSENT);
    this.blockStatus = grown(this.blockStatus, this.blocks.length, ABSENT);
  }

  #grow(seq: number): void {
    if (seq < this.#kind.length) return;
    this.#kind = grown(this.#kind, seq + 1);
    this.#time = grown(this.#time, seq + 1);
    this.#call = grown(this.#call, seq + 1, -1);
    this.#block = grown(this.#block, seq + 1, -1);
    this.#from = grown(this.#from, seq + 1, ABSENT);
    this.#to = grown(this.#to, seq + 1, ABSENT);
    this.#phase = grown(this.#phase, seq + 1);
    this.#busy = grown(this.#busy, seq + 1);
    this.#work = grown(this.#work, seq + 1);
  }
}

const NOTHING: Facts = {};
const EMPTY: [number, number][] = [];
const EMPTY_NUMBERS: number[] = [];

function grown<T extends Numbers>(array: T, length: number, fill = 0): T {
  if (length <= array.length) return array;
  const made = new (array.constructor as new (length: number) => T)(Math.max(64, 2 * array.length, length));
  if (fill) made.fill(fill);
  made.set(array);
  return made;
}
