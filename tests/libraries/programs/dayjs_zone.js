import dayjs from "dayjs";
import utc from "dayjs/plugin/utc.js";
import timezone from "dayjs/plugin/timezone.js";

export default async function program() {
  dayjs.extend(utc);
  dayjs.extend(timezone);
  return [dayjs.utc("2026-07-01T10:00:00Z").tz("America/New_York").format()];
}
