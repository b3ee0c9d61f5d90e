import { z } from "zod4";

export default async function program() {
  const User = z.object({ name: z.string().min(2), age: z.int().positive(), role: z.enum(["a", "b"]) });
  return [User.parse({ name: "Ada", age: 5, role: "a" }), z.treeifyError(User.safeParse({ name: "A", age: -1, role: "c" }).error), z.iso.date().safeParse("2026-02-30").success];
}
