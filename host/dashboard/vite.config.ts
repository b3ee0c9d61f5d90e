import { defineConfig, type Plugin } from "vite";

// What the API and the browser name is in snake_case or stands in terser's list of the DOM; names in camelCase are the
// dashboard's own, but for these of JSON Schema. So all of them can be short.
const OWN_NAMES = /^(?!on[A-Z]|aria)[a-z]+([A-Z][a-z]*)+$/;
const SCHEMA_NAMES = ["anyOf", "allOf", "oneOf"];
// `h` and not the automatic runtime: children are arguments, and no second `createElement` is taken along.
const JSX = { jsxFactory: "jsxElement", jsxFragment: "jsxFragment" };

interface Node {
  type: string;
  start: number;
  end: number;
  kind?: string;
  computed?: boolean;
  value?: unknown;
}

/** A node and all below it, each with its name in its parent. */
function* nodes(node: Node, name = "", parent?: Node): Generator<[node: Node, name: string, parent: Node | undefined]> {
  yield [node, name, parent];
  for (const [key, of] of Object.entries(node)) for (const next of [of].flat()) if (next?.type) yield* nodes(next, key, node);
}

/** What means the same is said the same way, and packs smaller: `let` for `const`, and for no properties of an element `0`. */
const ALIKE: Plugin = {
  name: "alike",
  transform: (code) => ({ code: code.replaceAll(/(\bjsxElement\([\w".]+, )null\b/g, "$10"), map: null }),
  renderChunk(code) {
    const made = code.split("");
    for (const [{ type, kind, start }] of nodes(this.parse(code))) {
      if (type === "VariableDeclaration" && kind === "const") made.splice(start, 5, "l", "e", "t", "", "");
    }
    return { code: made.join(""), map: null };
  },
};

/** After terser: texts between backquotes, as those are that have values put in. Names of properties cannot be. */
const QUOTES: Plugin = {
  name: "quotes",
  renderChunk: {
    order: "post",
    handler(code) {
      const made = code.split("");
      for (const [{ type, value, start, end }, name, parent] of nodes(this.parse(code))) {
        const isText = type === "Literal" && typeof value === "string" && !/[`$\\]/.test(code.slice(start, end));
        if (isText && name !== "source" && (name !== "key" || parent!.computed)) made[start] = made[end - 1] = "`";
      }
      return { code: made.join(""), map: null };
    },
  },
};

// Everything is relative, so that the app can be mounted under any prefix; nothing is inlined, so that the strict CSP holds.
export default defineConfig({
  base: "./",
  plugins: [ALIKE, QUOTES],
  esbuild: {
    jsx: "transform",
    ...JSX,
    jsxInject: 'import { h as jsxElement, Fragment as jsxFragment } from "preact"',
    tsconfigRaw: { compilerOptions: { jsx: "react", jsxFactory: JSX.jsxFactory, jsxFragmentFactory: JSX.jsxFragment, verbatimModuleSyntax: true } },
    legalComments: "none",
  },
  build: {
    outDir: process.env.CLOCHE_DASHBOARD_OUT ?? "../cloche/http/dashboard",
    emptyOutDir: true,
    target: "es2022",
    minify: "terser",
    terserOptions: {
      module: true,
      ecma: 2020,
      safari10: false, // a fault of browsers older than the target
      // Nothing unsafe: to read a signal is an effect, which `pure_getters` would drop. Short for gzip, not for the eye:
      // without sequences, and with little inlined, more of it repeats.
      compress: { passes: 3, pure_getters: false, keep_fargs: false, sequences: false, inline: 1 },
      mangle: { properties: { regex: OWN_NAMES, reserved: SCHEMA_NAMES } },
      format: { comments: false },
    },
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  cacheDir: process.env.CLOCHE_DASHBOARD_CACHE ?? "../../.cache/dashboard/vite",
});
