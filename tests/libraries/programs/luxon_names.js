import { DateTime, Info, Settings } from "luxon";

export default async function program() {
  const at = DateTime.fromMillis(1767225600000, { zone: "utc", locale: "en-US" });
  return [Info.months("long", { locale: "en" }), Info.weekdays("short", { locale: "en" }), Info.eras("short", { locale: "en" }), at.toLocaleString(DateTime.DATETIME_MED), at.toLocaleParts(DateTime.DATETIME_MED), at.toLocaleString(DateTime.DATE_FULL), at.minus({ days: 1 }).toRelative({ base: at }), DateTime.fromFormat("March 5, 2026", "LLLL d, yyyy", { zone: "utc", locale: "en" }).toISO()];
}
