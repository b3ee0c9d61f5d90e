import "core-js/actual/array/group-by.js";
import "core-js/actual/iterator/index.js";
import "core-js/stable/promise/index.js";
import "core-js/stable/structured-clone.js";
import "core-js/stable/url/index.js";

export default async function program() {
  return [[1, 2, 3].groupBy?.((n) => (n % 2 ? "odd" : "even")), [...Iterator.from([1, 2]).map((n) => n * 2)], structuredClone({ a: [1] }), (await Promise.allSettled([1])).length, new URL("../x", "http://a/b/c").href];
}
