import * as v from "valibot";

export default async function program() {
  const Login = v.object({ email: v.pipe(v.string(), v.email()), password: v.pipe(v.string(), v.minLength(8)) });
  return [v.safeParse(Login, { email: "a@b.co", password: "12345678" }).success, v.flatten(v.safeParse(Login, { email: "x", password: "1" }).issues), v.safeParse(v.pipe(v.string(), v.url()), "https://a.b").success];
}
