import { LRUCache } from "lru-cache";

export default async function program() {
  const cache = new LRUCache({ max: 2 });
  cache.set("a", 1); cache.set("b", 2); cache.get("a"); cache.set("c", 3);
  return [[...cache.keys()], cache.has("b"), cache.size];
}
