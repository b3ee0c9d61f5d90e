import { defineConfig } from "vite";

// Everything is relative, so that the app can be mounted under any prefix; nothing is inlined, so that the strict CSP holds.
export default defineConfig({
  base: "./",
  esbuild: { jsx: "automatic", jsxImportSource: "preact", legalComments: "none" },
  build: {
    outDir: process.env.CLOCHE_DASHBOARD_OUT ?? "../cloche/http/dashboard",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  cacheDir: process.env.CLOCHE_DASHBOARD_CACHE ?? "../../.cache/dashboard/vite",
});
