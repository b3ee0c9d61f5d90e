// Mastra's default workflow engine on a libSQL file: N steps one after another; and a resume from its snapshot behind N steps, in a
// new process (it replays nothing: it reads the snapshot of the whole run).

import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const require = createRequire(join(process.env.RIVAL_HOME, 'package.json'));
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { Mastra } = await load('@mastra/core');
const { createStep, createWorkflow } = await load('@mastra/core/workflows');
const { LibSQLStore } = await load('@mastra/libsql');
const { z } = await load('zod');

const [most = '1000', role, name, runId] = process.argv.slice(2);
const SIZES = [10, 100, 1000].filter((size) => size <= Number(most));
const schema = z.object({ x: z.number() });
const inc = (id) =>
  createStep({ id, inputSchema: schema, outputSchema: schema, execute: async ({ inputData }) => ({ x: inputData.x + 1 }) });
const ask = createStep({
  id: 'ask',
  inputSchema: schema,
  outputSchema: schema,
  resumeSchema: z.object({ go: z.boolean() }),
  execute: async ({ inputData, resumeData, suspend }) => (resumeData ? { x: inputData.x } : suspend({})),
});

function chain(size, last) {
  let workflow = createWorkflow({ id: `chain${size}${last ? 'ask' : ''}`, inputSchema: schema, outputSchema: z.any() });
  for (let i = 0; i < size; i++) workflow = workflow.then(inc(`s${i}`));
  return (last ? workflow.then(last) : workflow).commit();
}

const workflows = { chain3: chain(3) };
for (const size of SIZES) Object.assign(workflows, { [`chain${size}`]: chain(size), [`chain${size}ask`]: chain(size, ask) });
const storage = new LibSQLStore({ id: 'store', url: `file:${process.env.RIVAL_DATA}/mastra.db` });
const mastra = new Mastra({ workflows, storage, logger: false });
const seconds = () => performance.now() / 1000;
const run = async (id, given) => mastra.getWorkflow(id).createRun(given);

async function durable(size) {
  const begin = seconds();
  const result = await (await run(`chain${size}`)).start({ inputData: { x: 0 } });
  if (result.status !== 'success' || result.result.x !== size) throw new Error(JSON.stringify(result).slice(0, 200));
  return seconds() - begin;
}

function child(...given) {
  const done = spawnSync(process.execPath, ['--no-warnings', fileURLToPath(import.meta.url), most, ...given], { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(done.stderr.slice(-300));
  return done.stdout.trim().split('\n').pop();
}

function resumed(size) {
  const id = crypto.randomUUID();
  child('suspend', `chain${size}ask`, id);
  const { x, took } = JSON.parse(child('resume', `chain${size}ask`, id));
  if (x !== size) throw new Error(`resumed with ${x}`);
  return took;
}

function row(what, how, size, runs) {
  const median = [...runs].sort((a, b) => a - b)[Math.floor(runs.length / 2)];
  console.log(JSON.stringify({ what, how, size, us_per_step: (median / size) * 1e6, runs_s: runs }));
}

if (role === 'suspend') {
  const out = await (await run(name, { runId })).start({ inputData: { x: 0 } });
  process.exit(out.status === 'suspended' ? 0 : 1);
}
if (role === 'resume') {
  const begin = seconds();
  const out = await (await run(name, { runId })).resume({ step: 'ask', resumeData: { go: true } });
  console.log(JSON.stringify({ x: out.result?.x, took: seconds() - begin }));
  process.exit(out.status === 'success' ? 0 : 1);
}
await durable(3);
for (const size of SIZES) row('durable step', 'libSQL, WAL, few syncs', size, [await durable(size), await durable(size), await durable(size)]);
for (const size of SIZES) row('replay', 'resume from its snapshot', size, [resumed(size), resumed(size), resumed(size)]);
process.exit(0);
