// The steps of the protocol's test as plain exported functions, performed by `node_worker.mjs FILE URL`.
import { existsSync, writeFileSync } from "node:fs";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const attempt = () => globalThis[Symbol.for("cloche.step")]();

export const echo = (input) => input;
export const refuse = () => {
  throw Object.assign(new Error("not here"), { name: "PermissionError" });
};
export const write = async () => {
  for (const number of [0, 1, 2]) await attempt().write(number);
  return "written";
};
export const wait = async (input) => {
  const { signal } = attempt();
  writeFileSync(`${input.until}.begun`, "");
  while (!signal.aborted && !existsSync(input.until)) await pause(20);
  if (signal.aborted) writeFileSync(`${input.until}.aborted`, "");
  return "waited";
};
export { wait as "wait-once" };
