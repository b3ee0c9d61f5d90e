// The steps of the protocol's test, performed by the reference worker in JavaScript: `node step_worker.mjs URL`.
import { existsSync, writeFileSync } from "node:fs";
import { StepWorker } from "../../host/cloche/remote/step_worker.mjs";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const steps = {
  echo: (input) => input,
  refuse: () => {
    const error = new Error("not here");
    error.name = "PermissionError";
    throw error;
  },
  write: async (_, ctx) => {
    for (const number of [0, 1, 2]) await ctx.write(number);
    return "written";
  },
  wait: waited,
  "wait-once": waited,
};

async function waited(input, ctx) {
  writeFileSync(`${input.until}.begun`, "");
  while (!ctx.signal.aborted && !existsSync(input.until)) await pause(20);
  if (ctx.signal.aborted) writeFileSync(`${input.until}.aborted`, "");
  return "waited";
}

const worker = new StepWorker(process.argv[2], steps, { token: process.env.CLOCHE_TOKEN });
process.on("SIGTERM", () => worker.stop());
await worker.run();
