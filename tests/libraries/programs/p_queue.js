import PQueue from "p-queue";

export default async function program() {
  const queue = new PQueue({ concurrency: 1 });
  const done = [];
  await queue.addAll([async () => done.push(1), async () => done.push(2)], { priority: 1 });
  return done;
}
