import { Temporal } from "@js-temporal/polyfill";

export default async function program() {
  const date = Temporal.PlainDate.from("2026-01-31");
  return [date.add({ months: 1 }), date.until("2026-03-01").toString(), Temporal.Duration.from({ hours: 25 }).round({ largestUnit: "days" }), Temporal.Instant.from("2026-01-01T00:00:00Z").epochMilliseconds, { at: Temporal.PlainTime.from("10:30") }];
}
