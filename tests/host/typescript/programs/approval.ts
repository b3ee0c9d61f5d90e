import { createHook, sleep } from "workflow";

type Decision = { ok: boolean; comment?: string };

export async function approval(document: string) {
  "use workflow";
  using hook = createHook<Decision>({ token: `approve:${document}` });
  await ask(document, hook.token);
  const decision = await Promise.race([hook, sleep("1 day").then((): Decision => ({ ok: false, comment: "too late" }))]);
  return decision.ok ? await publish(document) : `rejected: ${decision.comment ?? "no reason"}`;
}

async function ask(document: string, token: string): Promise<void> {
  "use step";
}
async function publish(document: string): Promise<string> {
  "use step";
  return document;
}
