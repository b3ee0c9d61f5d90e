import { chunk } from "./lib/lists";

export async function batch(count: number, size = 4): Promise<{ sum: number; batches: number; failed: number[] }> {
  "use workflow";
  const items = Array.from({ length: count }, (_, i) => i + 1);
  const failed: number[] = [];
  let sum = 0,
    batches = 0;
  for (const part of chunk(items, size)) {
    batches++;
    const settled = await Promise.allSettled(part.map((item) => square(item)));
    settled.forEach((one, i) => {
      if (one.status === "fulfilled") sum += one.value;
      else failed.push(part[i]!);
    });
  }
  return { sum, batches, failed };
}

async function square(n: number) {
  "use step";
  return n * n;
}
square.maxRetries = 0;
