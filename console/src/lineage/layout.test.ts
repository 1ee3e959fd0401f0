import { describe, expect, test } from "vitest";
import { layOut, type Node } from "./layout";

/** Newest first, as "child<parent". */
const nodes = (text: string): Node[] =>
  text.split(" ").map((one) => {
    const [version = "", parent] = one.split("<");
    return { version, parent: parent ?? null };
  });

describe("a lineage's lanes", () => {
  test("are one for a line without branches", () => {
    const { rows, lanes } = layOut(nodes("v2<v1 v1<v0 v0"));
    expect(lanes).toBe(1);
    expect(rows.map((row) => row.lane)).toEqual([0, 0, 0]);
    expect(rows[0]).toEqual({ lane: 0, above: [], below: [{ from: 0, to: 0 }] });
    expect(rows[2]?.below).toEqual([]);
  });

  test("part at a branch and meet at its parent", () => {
    const { rows, lanes } = layOut(nodes("v3<v1 v2<v1 v1<v0 v0"));
    expect(lanes).toBe(2);
    expect(rows.map((row) => row.lane)).toEqual([0, 1, 0, 0]);
    expect(rows[2]?.above).toEqual([{ from: 0, to: 0 }, { from: 1, to: 0 }]);
  });

  test("are used again when a branch has ended", () => {
    const { rows, lanes } = layOut(nodes("v6<v4 v5<v4 v4<v3 v3<v1 v2<v1 v1<v0 v0"));
    expect(lanes).toBe(2);
    expect(rows.map((row) => row.lane)).toEqual([0, 1, 0, 0, 1, 0, 0]);
  });

  test("end where the parent is not shown", () => {
    expect(layOut(nodes("v9<v8 v7<v6")).rows.map((row) => [row.lane, row.below])).toEqual([[0, []], [0, []]]);
  });

  test("every line goes on where the row above left it, in a thousand versions of random branches", () => {
    const versions = Array.from({ length: 1000 }, (_, number) => ({
      version: `v${number}`,
      parent: number === 0 ? null : `v${Math.floor(((number * 7919) % 97) / 97 * number)}`,
    })).reverse();
    const { rows } = layOut(versions);
    const broken = rows.filter((row, index) => {
      const left = (rows[index - 1]?.below ?? []).map((line) => line.to);
      return left.join() !== row.above.map((line) => line.from).join();
    });
    expect(broken).toEqual([]);
    expect(rows.at(-1)?.below).toEqual([]);
  });
});
