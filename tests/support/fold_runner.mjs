// The dashboard's fold, run by Node: logs of heads come in as JSON, the state at each of their records goes out.
import { readFileSync } from "node:fs";
import { Log } from "../../host/dashboard/src/run/fold.ts";
import { stateOf } from "../../host/dashboard/src/run/state.ts";

const logs = JSON.parse(readFileSync(0, "utf8"));
const out = logs.map((heads) => {
  const log = new Log();
  for (let at = 0; at < heads.length; at += 7) log.take(heads.slice(at, at + 7)); // as pages and events bring them
  const forth = heads.map((_, at) => JSON.stringify(stateOf(log, at + 1)));
  const back = heads.map((_, at) => JSON.stringify(stateOf(log, heads.length - at))).reverse();
  forth.forEach((state, at) => {
    if (state !== back[at]) throw new Error(`record ${at + 1} is another one from behind:\n${state}\n${back[at]}`);
  });
  return forth.map((state) => JSON.parse(state));
});
process.stdout.write(JSON.stringify(out));
