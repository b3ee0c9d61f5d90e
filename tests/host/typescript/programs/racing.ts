import { sleep, getWorkflowMetadata } from "workflow";
export { later } from "./lib/later";

export async function race(mirrors: string[]) {
  "use workflow";
  const { workflowRunId } = getWorkflowMetadata();
  const first = await Promise.any(mirrors.map((one) => download(one)));
  const slow = await Promise.race([forever(), sleep(20).then(() => "timeout" as const)]);
  const all = await Promise.all([download("c"), sleep(new Date(Date.now() + 5)), Promise.resolve(3)]);
  return { hasId: workflowRunId.length > 0, first, slow, all: [all[0], all[2]] };
}

async function download(mirror: string) {
  "use step";
  return mirror;
}
async function forever() {
  "use step";
  await new Promise(() => {});
}
