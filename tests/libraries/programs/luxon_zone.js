import { DateTime } from "luxon";

export default async function program() {
  return [DateTime.fromISO("2026-07-01T10:00:00Z", { zone: "utc" }).setZone("Europe/Berlin").toISO()];
}
