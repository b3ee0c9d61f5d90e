import dayjs from "dayjs";
import utc from "dayjs/plugin/utc.js";
import duration from "dayjs/plugin/duration.js";
import relativeTime from "dayjs/plugin/relativeTime.js";
import customParse from "dayjs/plugin/customParseFormat.js";

export default async function program() {
  [utc, duration, relativeTime, customParse].forEach((plugin) => dayjs.extend(plugin));
  return [dayjs.utc("2026-01-31").add(1, "month").format("YYYY-MM-DD dddd"), dayjs.duration({ hours: 25 }).asDays(), dayjs.utc("2026-01-01").from(dayjs.utc("2026-01-05")), dayjs.utc("31/12/2025", "DD/MM/YYYY").toISOString()];
}
