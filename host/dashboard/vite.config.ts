import { defineConfig, type Plugin } from "vite";

// What the API and the browser name is in snake_case or stands in terser's list of the DOM; names in camelCase are the
// dashboard's own, but for these of JSON Schema. So all of them can be short.
const OWN_NAMES = /^(?!on[A-Z]|aria)[a-z]+([A-Z][a-z]*)+$/;
const SCHEMA_NAMES = ["anyOf", "allOf", "oneOf"];
// `h` and not the automatic runtime: children are arguments, and no second `createElement` is taken along.
const JSX = { jsxFactory: "jsxElement", jsxFragment: "jsxFragment" };

/** `let` for `const`: one word for all that is declared packs smaller. */
const LETS: Plugin = {
  name: "lets",
  renderChunk(code) {
    const made = code.split("");
    const walk = (node: unknown): void => {
      if (!node || typeof node !== "object") return;
      const { type, kind, start } = node as { type?: string; kind?: string; start: number };
      if (type === "VariableDeclaration" && kind === "const") made.splice(start, 5, "l", "e", "t", "", "");
      Object.values(node).forEach(walk);
    };
    walk(this.parse(code));
    return { code: made.join(""), map: null };
  },
};

// Everything is relative, so that the app can be mounted under any prefix; nothing is inlined, so that the strict CSP holds.
export default defineConfig({
  base: "./",
  plugins: [LETS],
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
