import validator from "validator";

export default async function program() {
  return [validator.isEmail("a@b.co"), validator.isURL("http://a.b"), validator.isIBAN("DE89370400440532013000"), validator.escape("<b>"), validator.isCreditCard("4111111111111111"), validator.isISO8601("2026-01-01T00:00:00Z")];
}
