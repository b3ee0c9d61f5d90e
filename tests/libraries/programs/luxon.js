import { DateTime, Duration, Interval } from "luxon";

export default async function program() {
  const at = DateTime.fromISO("2026-01-31T10:00:00Z", { zone: "utc" });
  return [at.plus({ months: 1 }).toISO(), at.toFormat("cccc, d LLLL yyyy HH:mm"), Duration.fromObject({ hours: 25, minutes: 5 }).shiftTo("days", "hours").toObject(), Interval.fromDateTimes(at, at.plus({ days: 2 })).length("hours"), at.weekNumber, Duration.fromISO("PT1H30M").toISO()];
}
