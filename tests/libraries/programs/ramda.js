import * as R from "ramda";

export default async function program() {
  const total = R.pipe(R.filter(R.propEq("x", "b")), R.map(R.prop("a")), R.sum);
  return [total([{ a: 1, b: "x" }, { a: 5, b: "x" }, { a: 7, b: "z" }]), R.assocPath(["a", "b"], 1, {}), R.zipObj(["a", "b"], [1, 2])];
}
