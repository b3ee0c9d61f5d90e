import { createMachine, createActor, waitFor } from "xstate";

export default async function program() {
  const actor = createActor(createMachine({ initial: "a", states: { a: { after: { 5: "b" } }, b: { after: { 5: "c" } }, c: { type: "final" } } })).start();
  return [(await waitFor(actor, (s) => s.matches("c"))).value];
}
