import { start } from "workflow/api";

export async function leaf(n: number): Promise<number> {
  "use workflow";
  return double(n);
}

export async function parent(numbers: number[]) {
  "use workflow";
  const runs = await Promise.all(numbers.map((n) => start(leaf, [n])));
  return Promise.all(runs.map((run) => run.returnValue));
}

async function double(n: number) {
  "use step";
  return 2 * n;
}
