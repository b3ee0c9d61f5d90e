/** Parts of a list, each of at most `size`. */
export function* chunk<T>(list: readonly T[], size: number): Generator<T[], void, undefined> {
  for (let at = 0; at < list.length; at += size) yield list.slice(at, at + size);
}
export const unused = () => import.meta.url;
