import { createMachine, createActor, assign } from "xstate";

export default async function program() {
  const machine = createMachine({ context: { n: 0 }, initial: "off", states: { off: { on: { T: { target: "on", actions: assign({ n: ({ context }) => context.n + 1 }) } } }, on: { on: { T: "off" } } } });
  const actor = createActor(machine).start();
  ["T", "T", "T"].forEach((type) => actor.send({ type }));
  const { value, context } = actor.getSnapshot();
  return [value, context];
}
