import superjson from "superjson";

export default async function program() {
  const value = { d: new Date(5), m: new Map([["a", 1n]]), s: new Set([1]), u: undefined, r: /x/g, e: new Error("boom"), url: new URL("http://a/b?c=1") };
  const back = superjson.parse(superjson.stringify(value));
  return [superjson.serialize(value).meta, back.m.get("a") === 1n, back.e.message, back.url.searchParams.get("c")];
}
