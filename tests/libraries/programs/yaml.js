import YAML from "yaml";
import * as jsYaml from "js-yaml";

export default async function program() {
  const text = "a: 1\nlist:\n  - x\n  - {y: 2}\ndate: 2026-01-01\nanchor: &q [1]\nagain: *q\n";
  return [YAML.parse(text), YAML.stringify({ a: [1, { b: null }] }), jsYaml.load(text), jsYaml.dump({ a: [1, "x: y"] })];
}
