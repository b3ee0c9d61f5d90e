// The steps of the protocol's test, performed by the references in JavaScript: `node step_worker.mjs URL`. It polls, or takes
// pushes at CLOCHE_PUSH_PORT, signed with CLOCHE_PUSH_SECRET.
import { existsSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { StepReceiver, StepWorker } from "../../host/cloche/remote/step_worker.mjs";

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

const token = process.env.CLOCHE_TOKEN;
if (process.env.CLOCHE_PUSH_PORT) {
  const options = { url: process.argv[2], token, answerWithinMs: 500 };
  const receiver = new StepReceiver(steps, process.env.CLOCHE_PUSH_SECRET, options);
  const server = createServer(receiver.handler).listen(Number(process.env.CLOCHE_PUSH_PORT), "127.0.0.1");
  process.on("SIGTERM", async () => {
    server.close();
    await receiver.end();
    process.exit(0);
  });
} else {
  const worker = new StepWorker(process.argv[2], steps, { token });
  process.on("SIGTERM", () => worker.stop());
  await worker.run();
}
