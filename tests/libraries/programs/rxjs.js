import { from, map, filter, reduce, lastValueFrom, zip, toArray, scan } from "rxjs";

export default async function program() {
  return [await lastValueFrom(from([1, 2, 3, 4]).pipe(filter((n) => n % 2 === 0), map((n) => n * 10), reduce((a, b) => a + b))), await lastValueFrom(zip(from([1, 2]), from(["a", "b"])).pipe(toArray())), await lastValueFrom(from([1, 2, 3]).pipe(scan((a, b) => a + b), toArray()))];
}
