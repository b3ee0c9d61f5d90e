import * as acorn from "acorn";
import { Type } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";

export default async function program() {
  const check = TypeCompiler.Compile(Type.Object({ a: Type.Integer({ minimum: 1 }), b: Type.Optional(Type.String()) }));
  return [acorn.parse("const x = (a) => a ** 2", { ecmaVersion: 2022 }).body[0].type, check.Check({ a: 1 }), [...check.Errors({ a: 0 })].map((e) => e.message)];
}
