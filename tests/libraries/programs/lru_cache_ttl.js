import { LRUCache } from "lru-cache";

export default async function program() {
  const cache = new LRUCache({ max: 5, ttl: 10, ttlResolution: 0 });
  cache.set("a", 1);
  const before = cache.get("a");
  await new Promise((done) => setTimeout(done, 30));
  return [before, cache.get("a") ?? "gone"];
}
