// A workflow in TypeScript, as it is written for the Workflow SDK: 10_typescript.py runs it.
import { sleep } from "workflow";

interface Order {
  id: string;
  mail: string;
}

export async function onboarding(order: Order): Promise<{ account: string; mails: string[] }> {
  "use workflow";
  const account = await createAccount(order);
  const mails = await Promise.all(["welcome", "first steps"].map((text) => sendMail(order.mail, text)));
  await sleep("20ms"); // or "3 days": the run waits in the store, and no process needs to
  return { account: account.id, mails };
}

async function createAccount(order: Order): Promise<{ id: string }> {
  "use step";
  return { id: `account of ${order.id}` };
}

async function sendMail(mail: string, text: string): Promise<string> {
  "use step";
  return `${text}, ${mail}`;
}
