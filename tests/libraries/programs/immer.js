import { produce } from "immer";

export default async function program() {
  const before = { list: [{ n: 1 }], same: {} };
  const after = produce(before, (draft) => { draft.list.push({ n: 2 }); draft.list[0].n++; });
  return [before, after, before.same === after.same];
}
