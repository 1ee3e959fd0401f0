import { expect, test } from "vitest";
import { samplesOf } from "./prometheus";
import { quantile } from "./quantile";

test("samples are read with their labels and escapes", () => {
  const text = '# HELP a b\nemmetd_queue_depth{queue="edits:tiny",note="a \\"b\\" c"} 2.0\nfree 7.9e+10\nup{le="+Inf"} +Inf\n';
  expect(samplesOf(text)).toEqual([
    { name: "emmetd_queue_depth", labels: { queue: "edits:tiny", note: 'a "b" c' }, value: 2 },
    { name: "free", labels: {}, value: 7.9e10 },
    { name: "up", labels: { le: "+Inf" }, value: Infinity },
  ]);
});

test("a quantile lies between its neighbours", () => {
  expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
  expect(quantile([], 0.5)).toBeNull();
});
