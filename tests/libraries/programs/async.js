import async from "async";

export default async function program() {
  const doubled = await async.mapLimit([1, 2, 3, 4], 2, async (n) => n * 2);
  return [doubled, await async.reduce(doubled, 0, async (sum, n) => sum + n)];
}
