import { getWritable, FatalError } from "workflow";

type Message = { role: "user" | "assistant" | "tool"; content: string };
type Reply = { text: string; tool?: { name: keyof typeof tools; args: unknown[] } };

const tools = {
  weather: async (place: string) => {
    "use step";
    return `sunny in ${place}`;
  },
  add: async (a: number, b: number) => {
    "use step";
    return a + b;
  },
};

async function think(messages: Message[], stream: WritableStream<string>): Promise<Reply> {
  "use step";
  return { text: messages.at(-1)!.content };
}

export async function agent(question: string, { limit = 5 }: { limit?: number } = {}) {
  "use workflow";
  const messages: Message[] = [{ role: "user", content: question }];
  const stream = getWritable<string>();
  for (let turn = 0; turn < limit; turn++) {
    const reply = await think(messages, stream);
    messages.push({ role: "assistant", content: reply.text });
    if (!reply.tool) return { answer: reply.text, turns: turn + 1, tools: messages.filter((one) => one.role === "tool").map((one) => one.content) };
    const call = tools[reply.tool.name] as (...args: unknown[]) => Promise<unknown>;
    messages.push({ role: "tool", content: String(await call(...reply.tool.args)) });
  }
  throw new FatalError(`no answer after ${limit} turns`);
}
