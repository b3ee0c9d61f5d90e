import { Temporal } from "@js-temporal/polyfill";

export default async function program() {
  return [Temporal.Instant.from("2026-07-01T00:00:00Z").toZonedDateTimeISO("Asia/Tokyo").toString()];
}
