import { nanoid, customAlphabet } from "nanoid";
import { ulid, decodeTime } from "ulid";

export default async function program() {
  return [nanoid().length, /^[abc]{8}$/.test(customAlphabet("abc", 8)()), ulid().length, decodeTime(ulid(1500000000000))];
}
