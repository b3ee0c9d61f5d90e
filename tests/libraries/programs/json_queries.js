import { JSONPath } from "jsonpath-plus";
import jmespath from "jmespath";

export default async function program() {
  const data = { rows: [{ a: 1, b: { c: 2 } }, { a: 3 }] };
  return [JSONPath({ path: "$.rows[*].a", json: data }), JSONPath({ path: "$..c", json: data }), jmespath.search(data, "rows[?a > `1`].a")];
}
