// Vercel's Workflow SDK: one replay of a history made here, in memory, by its workflow engine on node:vm, and by that of version
// 5 in QuickJS (WebAssembly).
//
// For every step the log has created, started and completed. Ids are drawn as its engine draws them: from a generator seeded by the
// run. The workflow is compiled by its own SWC plugin.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { setFlagsFromString } from 'node:v8';

const HOME = process.env.RIVAL_HOME;
const MOST = Number(process.argv[2] ?? 1000);
const BEGAN = Date.UTC(2026, 0, 1);
const SOURCE = fileURLToPath(new URL('vercel_flow.ts', import.meta.url));
const require = createRequire(join(HOME, 'package.json'));
const core = (file) => import(pathToFileURL(join(HOME, 'node_modules/@workflow/core/dist', file)));
const serial = await core('serialization.js');
const { runWorkflow } = await core('workflow.js');
const IS_5 = require('./node_modules/@workflow/core/package.json').version.startsWith('5.');
const SPEC = IS_5 ? 7 : 3;
const PATIENCE_MS = 60_000; // of one size: a size that would take longer is left out, with those above it
const seedrandom = require('seedrandom');
const { monotonicFactory, ulid } = require('ulid');

// Its runtime looks for a port of its own process at every replay until it finds one: about 15 ms each that are not replay.
await new Promise((listening) => createServer().listen(0, '127.0.0.1', listening));

async function compiled() {
  const plugin = [require.resolve('@workflow/swc-plugin'), { mode: 'workflow' }];
  const { code } = await require('@swc/core').transform(readFileSync(SOURCE, 'utf8'), {
    filename: 'workflows/bench.ts',
    swcrc: false,
    jsc: {
      parser: { syntax: 'typescript' },
      target: 'es2022',
      experimental: { cacheRoot: join(HOME, '.swc'), plugins: [plugin] },
    },
  });
  const bundle = await require('esbuild').transform(code, { format: 'cjs', target: 'es2022' });
  return `globalThis.__private_workflows = new Map();\n${bundle.code}`;
}

async function history(shape, size) {
  const runId = `wrun_${ulid(BEGAN)}`;
  const workflowName = `workflow//./workflows/bench//${shape}`;
  const random = seedrandom(`${runId}:${workflowName}:${IS_5 ? 'dpl_bench' : BEGAN}`);
  const draw = monotonicFactory(() => random());
  const input = await serial.dehydrateWorkflowArguments([size], runId, undefined);
  const stepInput = await serial.dehydrateStepReturnValue({ args: [0] }, runId, undefined);
  const stepName = 'step//./workflows/bench//echo';
  const events = [];
  const add = (eventType, correlationId, eventData) =>
    events.push({
      eventType,
      correlationId,
      eventData,
      runId,
      eventId: `evnt_${String(events.length + 1).padStart(26, '0')}`,
      createdAt: new Date(BEGAN + events.length),
      specVersion: SPEC,
    });
  add('run_created', undefined, { deploymentId: 'dpl_bench', workflowName, input });
  add('run_started');
  const ids = Array.from({ length: size }, () => `step_${draw(BEGAN)}`);
  const results = await Promise.all(ids.map((_, i) => serial.dehydrateStepReturnValue(i, runId, undefined)));
  const parts = {
    created: (i) => add('step_created', ids[i], { stepName, input: stepInput }),
    started: (i) => add('step_started', ids[i], { stepName, attempt: 1 }),
    completed: (i) => add('step_completed', ids[i], { stepName, result: results[i] }),
  };
  if (shape === 'sequential') ids.forEach((_, i) => Object.values(parts).forEach((part) => part(i)));
  else Object.values(parts).forEach((part) => ids.forEach((_, i) => part(i)));
  const at = new Date(BEGAN);
  const run = { runId, workflowName, deploymentId: 'dpl_bench', status: 'running', input, attributes: {}, specVersion: SPEC };
  return { run: { ...run, createdAt: at, updatedAt: at, startedAt: at }, events };
}

const code = await compiled();
const engines = { 'node:vm': (run, events) => runWorkflow(code, run, events, undefined) };
if (IS_5) {
  setFlagsFromString('--experimental-wasm-extended-const'); // its WebAssembly needs it, and Node 20 has it behind this
  const { runQuickJSWorkflow } = await core('runtime/quickjs-runtime.js');
  engines.QuickJS = async (run, events) => {
    const given = { workflowCode: code, workflowId: run.workflowName, workflowRun: run, events, encryptionKey: undefined };
    const { completed } = await runQuickJSWorkflow({ ...given, port: 3000, worldCapabilities: {} });
    if (!completed) throw new Error('it is not completed');
    return completed.result;
  };
}

async function timed(replay, shape, size) {
  const { run, events } = await history(shape, size);
  const begin = performance.now();
  const packed = await replay(run, events);
  const seconds = (performance.now() - begin) / 1000;
  const sum = await serial.hydrateWorkflowReturnValue(packed, run.runId, undefined);
  if (sum !== (size * (size - 1)) / 2) throw new Error(`a wrong result: ${sum}`);
  return seconds;
}

for (const [engine, replay] of Object.entries(engines))
  for (const [shape, what] of [['sequential', 'replay'], ['parallel', 'parallel replay']]) {
    await timed(replay, shape, 1);
    let grown = 0; // what the next size will take, ten times as large: all but one of these grow with its square
    for (const size of [10, 100, 1000, 10000].filter((size) => size <= MOST)) {
      if (grown > PATIENCE_MS / 1000) break;
      const runs = [];
      while (runs.length < 5 && runs.reduce((sum, one) => sum + one, 0) < PATIENCE_MS / 6000) runs.push(await timed(replay, shape, size));
      const median = [...runs].sort((a, b) => a - b)[runs.length >> 1];
      grown = median * 100;
      console.log(JSON.stringify({ what, how: `history in memory, ${engine}`, size, us_per_step: (median / size) * 1e6, runs_s: runs }));
    }
  }
process.exit(0);
