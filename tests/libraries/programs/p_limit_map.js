import pLimit from "p-limit";
import pMap from "p-map";

export default async function program() {
  const limit = pLimit(2);
  return [await Promise.all([1, 2, 3].map((n) => limit(async () => n * 2))), await pMap([1, 2, 3], async (n) => n + 1, { concurrency: 1 })];
}
