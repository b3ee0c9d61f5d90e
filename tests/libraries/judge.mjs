// What Node.js answers to a bundle, as JSON: `node judge.mjs BUNDLE`.
globalThis.self ??= globalThis; // as browsers have it: some bundles ask for it
const { default: program } = await import(process.argv[2]);
process.stdout.write(JSON.stringify(await program()) ?? "null", () => process.exit(0));
