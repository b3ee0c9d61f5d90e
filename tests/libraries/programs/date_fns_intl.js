import { intlFormat, intlFormatDistance } from "date-fns";

export default async function program() {
  const at = new Date(Date.UTC(2026, 0, 31, 12));
  return [intlFormat(at, { weekday: "long", year: "numeric", month: "long", day: "numeric", timeZone: "UTC" }, { locale: "en-US" }), intlFormatDistance(new Date(86400000 * 3), new Date(0), { locale: "en" })];
}
