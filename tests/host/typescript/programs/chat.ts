import { defineHook } from "workflow";

const messages = defineHook<{ text: string }>();

export async function chat(room: string) {
  "use workflow";
  const said: string[] = [];
  for await (const { text } of messages.create({ token: `room:${room}` })) {
    if (text === "bye") break;
    said.push(await answer(text));
  }
  return said;
}

async function answer(text: string) {
  "use step";
  return text.toUpperCase();
}
