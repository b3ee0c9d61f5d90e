import { interval, timer, take, toArray, lastValueFrom, debounceTime, of, delay, concat, timeout, NEVER, catchError } from "rxjs";

export default async function program() {
  return [await lastValueFrom(interval(5).pipe(take(3), toArray())), await lastValueFrom(timer(5)), await lastValueFrom(of("late").pipe(delay(5))), await lastValueFrom(concat(of(1), of(2)).pipe(debounceTime(3), toArray())), await lastValueFrom(NEVER.pipe(timeout(5), catchError((e) => of(e.name))))];
}
