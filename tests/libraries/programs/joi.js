import Joi from "joi";

export default async function program() {
  const schema = Joi.object({ name: Joi.string().min(2).required(), site: Joi.string().uri(), at: Joi.date().iso() });
  return [schema.validate({ name: "ab", site: "http://a.b" }).error ?? null, schema.validate({ name: "a", site: "x" }, { abortEarly: false }).error.details.map((d) => d.message)];
}
