import { defineConfig } from "vitest/config";

// Started by tests/console/test_browser.py, which brings the servers. One after the other: they share them.
export default defineConfig({
  test: { include: ["browser/**/*.test.ts"], fileParallelism: false, testTimeout: 900_000, hookTimeout: 300_000, bail: 0 },
});
