import { z } from "zod4";

export default async function program() {
  return [z.url().safeParse("https://example.com/x").success, z.url().safeParse("nothing").success, z.httpUrl().safeParse("ftp://a.b").success];
}
