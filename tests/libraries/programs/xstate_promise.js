import { createMachine, createActor, fromPromise, toPromise } from "xstate";

export default async function program() {
  const machine = createMachine({ initial: "load", states: { load: { invoke: { src: fromPromise(async () => 42), onDone: { target: "done" } } }, done: { type: "final" } }, output: ({ event }) => event.output ?? 42 });
  const actor = createActor(machine).start();
  return [await toPromise(actor), actor.getSnapshot().value];
}
