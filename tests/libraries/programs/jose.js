import { SignJWT, jwtVerify } from "jose";

export default async function program() {
  const key = new TextEncoder().encode("0123456789abcdef0123456789abcdef");
  const token = await new SignJWT({ a: 1 }).setProtectedHeader({ alg: "HS256" }).sign(key);
  return [(await jwtVerify(token, key)).payload];
}
