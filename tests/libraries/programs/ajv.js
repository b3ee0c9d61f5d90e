import Ajv from "ajv";
import addFormats from "ajv-formats";

export default async function program() {
  const ajv = new Ajv({ allErrors: true });
  addFormats(ajv);
  const check = ajv.compile({ type: "object", properties: { a: { type: "integer", minimum: 1 }, d: { type: "string", format: "date" }, u: { type: "string", format: "uri" } }, required: ["a"], additionalProperties: false });
  return [check({ a: 1, d: "2026-01-01", u: "http://a/b" }), check({ a: 0, d: "x", z: 1 }), check.errors.map((e) => e.message)];
}
