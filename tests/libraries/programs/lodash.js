import _ from "lodash";

export default async function program() {
  const rows = [{ a: 1, b: "x" }, { a: 2, b: "y" }, { a: 3, b: "x" }];
  return [_.groupBy(rows, "b"), _.chunk([1, 2, 3, 4, 5], 2), _.merge({ a: { b: 1 } }, { a: { c: 2 } }), _.camelCase("hello big world"), _.sortBy(rows, ["b", "a"]), _.uniqWith([{ a: 1 }, { a: 1 }], _.isEqual), _.template("<%= a %>!")({ a: 5 })];
}
