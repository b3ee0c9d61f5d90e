import * as yup from "yup";

export default async function program() {
  const schema = yup.object({ name: yup.string().required(), age: yup.number().positive().integer(), site: yup.string().url() });
  const failed = await schema.validate({ age: -1, site: "x" }, { abortEarly: false }).catch((e) => e.errors);
  return [await schema.validate({ name: "a", age: "5" }), failed];
}
