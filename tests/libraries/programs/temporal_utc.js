import { Temporal } from "@js-temporal/polyfill";

export default async function program() {
  const at = Temporal.Instant.from("2026-01-01T00:00:00Z").toZonedDateTimeISO("UTC");
  return [at, at.add({ hours: 30 }).toString(), at.toPlainDate()];
}
