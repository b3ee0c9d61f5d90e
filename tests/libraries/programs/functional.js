import { pipe } from "fp-ts/lib/function.js";
import * as O from "fp-ts/lib/Option.js";
import { ok, err } from "neverthrow";
import { match, P } from "ts-pattern";
import * as Re from "remeda";

export default async function program() {
  const named = (v) => match(v).with({ type: "a", n: P.number }, ({ n }) => n * 2).otherwise(() => "other");
  return [pipe(O.some(4), O.map((n) => n + 1), O.getOrElse(() => 0)), ok(5).map((n) => n + 1).unwrapOr(0), err("no").unwrapOr(7), named({ type: "a", n: 4 }), named({ type: "b" }), Re.groupBy([1, 2, 3], (n) => (n % 2 ? "odd" : "even"))];
}
