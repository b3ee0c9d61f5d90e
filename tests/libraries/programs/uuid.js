import { v1, v3, v4, v5, v7, validate, version } from "uuid";

export default async function program() {
  return [v5("hello", v5.DNS), v3("hello", v3.URL), version(v4()), version(v7()), validate(v1())];
}
