import { z } from "zod";

export default async function program() {
  const User = z.object({ name: z.string().min(2), age: z.number().int().positive().optional(), tags: z.array(z.string()).default([]), email: z.string().email() });
  return [User.parse({ name: "Ada", email: "a@b.co" }), User.safeParse({ name: "A", age: -1, email: "x" }).error.issues, z.string().url().safeParse("https://a.b/c").success, z.coerce.date().parse("2026-01-02").toISOString()];
}
