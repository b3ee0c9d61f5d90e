import { Effect, Schema } from "effect";

export default async function program() {
  const User = Schema.Struct({ name: Schema.NonEmptyString, age: Schema.NumberFromString });
  return [Effect.runSync(Effect.succeed(5).pipe(Effect.map((n) => n + 1))), Schema.decodeUnknownSync(User)({ name: "a", age: "5" }), String(Schema.decodeUnknownEither(User)({ name: "" }))];
}
