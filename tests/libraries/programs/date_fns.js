import { addMonths, formatISO, differenceInDays, format, parseISO, formatDistance, isWeekend } from "date-fns";
import { de } from "date-fns/locale";

export default async function program() {
  const at = new Date(Date.UTC(2026, 0, 31));
  return [formatISO(addMonths(at, 1)), differenceInDays(parseISO("2026-03-01"), at), format(at, "EEEE, d. MMMM yyyy", { locale: de }), formatDistance(at, parseISO("2026-02-10")), isWeekend(at)];
}
