// Vercel's Workflow SDK: one replay of a history made here, in memory, by its workflow engine on node:vm.
//
// For every step the log has created, started and completed. Ids are drawn as its engine draws them: from a generator seeded by the
// run. The workflow is compiled by its own SWC plugin.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const HOME = process.env.RIVAL_HOME;
const MOST = Number(process.argv[2] ?? 1000);
const BEGAN = Date.UTC(2026, 0, 1);
const SOURCE = fileURLToPath(new URL('vercel_flow.ts', import.meta.url));
const require = createRequire(join(HOME, 'package.json'));
const core = (file) => import(pathToFileURL(join(HOME, 'node_modules/@workflow/core/dist', file)));
const serial = await core('serialization.js');
const { runWorkflow } = await core('workflow.js');
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
  const random = seedrandom(`${runId}:${workflowName}:${BEGAN}`);
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
      specVersion: 3,
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
  const run = { runId, workflowName, deploymentId: 'dpl_bench', status: 'running', input, attributes: {}, specVersion: 3 };
  return { run: { ...run, createdAt: at, updatedAt: at, startedAt: at }, events };
}

const code = await compiled();
for (const [shape, what] of [['sequential', 'replay'], ['parallel', 'parallel replay']])
  for (const size of [10, 100, 1000].filter((size) => size <= MOST)) {
    const { run, events } = await history(shape, size);
    const runs = [];
    for (let i = 0; i < 5; i++) {
      const begin = performance.now();
      const packed = await runWorkflow(code, run, events, undefined);
      runs.push((performance.now() - begin) / 1000);
      const sum = await serial.hydrateWorkflowReturnValue(packed, run.runId, undefined);
      if (sum !== (size * (size - 1)) / 2) throw new Error(`a wrong result: ${sum}`);
    }
    const median = [...runs].sort((a, b) => a - b)[2];
    console.log(JSON.stringify({ what, how: 'history in memory, node:vm', size, us_per_step: (median / size) * 1e6, runs_s: runs }));
  }
process.exit(0);
