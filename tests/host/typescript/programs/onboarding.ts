import { sleep } from "workflow";

interface User {
  id: string;
  mail: string;
}

export async function onboarding(mail: string): Promise<{ user: User; mails: string[] }> {
  "use workflow";
  const user = await createUser(mail);
  const mails: string[] = [];
  mails.push(await sendWelcome(user));
  await sleep("10ms");
  mails.push(await sendCheckIn(user));
  return { user, mails };
}

async function createUser(mail: string): Promise<User> {
  "use step";
  return { id: crypto.randomUUID(), mail };
}
async function sendWelcome(user: User) {
  "use step";
  return `welcome ${user.mail}`;
}
async function sendCheckIn(user: User) {
  "use step";
  return `how is it, ${user.mail}?`;
}
