import equal from "fast-deep-equal";
import merge from "deepmerge";

export default async function program() {
  return [equal({ a: [1, { b: 2 }] }, { a: [1, { b: 2 }] }), equal([1], [2]), merge({ a: { b: [1] } }, { a: { b: [2], c: 3 } })];
}
