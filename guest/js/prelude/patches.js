// Changes under open runs. `patched(id)` says whether this run takes the way that was added with the patch `id`: true in code
// that runs for the first time, and false where newer code replays the history of a run that had passed here without it. An
// answer, once given, is that of the whole run; true is written down, once, so that later replays know.
(cloche) => {
  "use strict";

  const { listen, mark } = cloche;
  const [TypeErrorOf] = [TypeError];
  const { setPrototypeOf, freeze } = Object;
  const answers = setPrototypeOf(new Map(), freeze({ __proto__: null, get: Map.prototype.get, set: Map.prototype.set }));
  let known = undefined; // while an old history is replayed: the patches that it has

  listen("patches", (patches) => {
    known = patches;
  });

  const isKnown = (id) => {
    for (let i = 0; i < known.length; i++) if (known[i] === id) return true;
    return false;
  };

  cloche.patched = (id) => {
    if (typeof id !== "string") throw new TypeErrorOf("patched takes the name of a patch, a text");
    let answer = answers.get(id);
    if (answer === undefined) {
      answer = known === undefined || isKnown(id);
      if (answer) mark(id);
      answers.set(id, answer);
    }
    return answer;
  };
};
