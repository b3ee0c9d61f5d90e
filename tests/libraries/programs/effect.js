import { Effect, pipe, Either, Option } from "effect";

export default async function program() {
  const program = Effect.gen(function* () { const a = yield* Effect.succeed(2); const b = yield* Effect.promise(async () => 3); return a * b });
  const failed = await Effect.runPromise(Effect.either(Effect.fail("no")));
  return [await Effect.runPromise(program), Either.isLeft(failed), pipe(Option.some(1), Option.map((n) => n + 1), Option.getOrNull)];
}
