import { defineConfig } from "vite";

// Relative addresses, so that the pages work behind any path prefix. Where they are served from is the business of
// service/console, which holds what is built here.
export default defineConfig({
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../service/console/pages",
    emptyOutDir: true,
    assetsDir: "console",
    // Styles and pictures as data: in the page would need a looser Content-Security-Policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
  },
});
