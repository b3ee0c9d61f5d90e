import { stringify, parse, uneval } from "devalue";

export default async function program() {
  const value = { m: new Map([[1, new Set(["x"])]]), d: new Date(5), n: undefined, big: 5n };
  value.self = value;
  const back = parse(stringify(value));
  return [stringify(value), back.self === back, back.m.get(1).has("x"), uneval({ a: [1] })];
}
