import { createWebhook } from "workflow";

export async function webhook(order: string) {
  "use workflow";
  const hook = createWebhook();
  await tell(order, hook.url);
  const request = await hook;
  const body = (await request.json()) as { paid: boolean };
  return { method: request.method, paid: body.paid };
}

async function tell(order: string, url: string) {
  "use step";
  console.log(order, url);
}
