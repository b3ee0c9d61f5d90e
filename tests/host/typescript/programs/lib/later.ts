import { sleep } from "workflow";

export async function later(ms: number) {
  "use workflow";
  const before = Date.now();
  await sleep(ms);
  return Date.now() - before >= ms;
}
