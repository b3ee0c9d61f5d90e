import { Effect, Schedule } from "effect";

export default async function program() {
  let tries = 0;
  const work = Effect.suspend(() => (++tries < 3 ? Effect.fail("again") : Effect.succeed("ok")));
  const result = await Effect.runPromise(Effect.retry(work, Schedule.spaced("3 millis")));
  await Effect.runPromise(Effect.sleep("2 millis"));
  return [result, tries];
}
