import { describe, expect, test } from "vitest";
import { readFacts } from "./read";

const RECORD = {
  case_id: 0,
  requested_rewrite: {
    prompt: "The mother tongue of {} is",
    subject: "Danielle Darrieux",
    target_new: { str: "English" },
    target_true: { str: "French" },
  },
  paraphrase_prompts: ["Danielle Darrieux, a native"],
  neighborhood_prompts: ["The mother tongue of Léon Blum is"],
};

describe("a file of facts", () => {
  test("in CSV has quotes, line ends within them, and lists parted by a bar", async () => {
    const text = 'prompt,subject,target_new,paraphrases\r\n"The ""twin"" city\nof {}, is",Lyon,Madrid,one|two\r\n\r\n{} is in,Rome,Spain,\r\n';
    const { format, rows, error } = await readFacts(text);
    expect([format, error]).toEqual(["CSV", null]);
    expect(rows.map((row) => [row.line, row.errors])).toEqual([[2, []], [5, []]]);
    expect(rows[0]?.fact?.prompt).toBe('The "twin" city\nof {}, is');
    expect(rows[0]?.fact?.paraphrases).toEqual(["one", "two"]);
  });

  test("with tabs is read too, and with a byte order mark", async () => {
    const { rows } = await readFacts("\uFEFFprompt\tsubject\ttarget_new\n{}, is in\tRome\tSpain\n");
    expect(rows[0]?.fact).toMatchObject({ prompt: "{}, is in", subject: "Rome", target_new: "Spain" });
  });

  test("with a wrong column names it, and the missing ones", async () => {
    const { rows, error } = await readFacts("prompt,subjekt,target_new\n{} is,Rome,Spain\n");
    expect(rows).toEqual([]);
    expect(error).toContain("Column “subjekt” is not known");
    expect(error).toContain("target_new, target_old");
  });

  test("of CounterFact's or zsRE's records becomes ours", async () => {
    const zsre = { src: "Where is Lyon?", subject: "Lyon", alt: "Spain", answers: ["France"], rephrase: "Lyon is where?", loc: "nq question", loc_ans: "x" };
    const { format, rows } = await readFacts(JSON.stringify([RECORD, zsre]));
    expect(format).toBe("JSON");
    expect(rows[0]?.fact).toMatchObject({ target_new: "English", target_old: "French", neighbors: [{ target: "French" }] });
    expect(rows[1]?.fact).toMatchObject({ prompt: "Where is Lyon?", target_old: "France", paraphrases: ["Lyon is where?"] });
    expect(rows.flatMap((row) => row.errors)).toEqual([]);
  });

  test("says in each row what is wrong with it, and goes on", async () => {
    const lines = [
      { prompt: "The capital of {} is", subject: "Rome", target_new: "Lyon" },
      { prompt: "The capital of France is", subject: "Spain", target_new: "Lyon" },
      { prompt: "The capital of {} is", subject: "Rome", target_new: "Paris" },
      { prompt: "{} and {}", subject: "Rome", target_new: "" },
      { prompt: "{} is", subject: "Rome" },
      { prompt: "{} is", subject: "Oslo", target_new: "x", target_odl: "y" },
    ];
    const { format, rows } = await readFacts([...lines.map((line) => JSON.stringify(line)), "{broken"].join("\n"));
    expect(format).toBe("JSON lines");
    expect(rows.map((row) => row.errors.map((error) => error.field))).toEqual([
      [],
      ["prompt"],
      ["target_new"],
      ["target_new", "prompt"],
      ["target_new"],
      ["target_odl"],
      ["line"],
    ]);
    expect(rows[1]?.errors[0]?.message).toContain("does not contain the subject “Spain”");
    expect(rows[2]?.errors[0]?.message).toContain("contradicts line 1");
  });

  test("without subjects has them offered, and each says so", async () => {
    const { rows } = await readFacts("question,answer\nWho wrote Hamlet?,Marlowe\nwho knows?,nobody\n");
    expect(rows.map((row) => [row.fact?.prompt, row.fact?.subject, row.fact?.target_new, row.isOffered])).toEqual([
      ["Who wrote {}?", "Hamlet", "Marlowe", true],
      [undefined, undefined, undefined, false],
    ]);
    expect(rows[1]?.errors).toEqual([{ field: "subject", message: expect.stringContaining("no capitalised or quoted words") }]);
  });

  test("takes “auto” for a subject only where the prompt has neither {} nor that word", async () => {
    const lines = ["The capital of France is", "My auto is", "{} is a word"].map((prompt) => JSON.stringify({ prompt, subject: "auto", target_new: "x" }));
    const { rows } = await readFacts(lines.join("\n"));
    expect(rows.map((row) => [row.fact?.subject, row.isOffered])).toEqual([["France", true], ["auto", false], ["auto", false]]);
  });

  test("that is empty or no list says so", async () => {
    expect((await readFacts("  \n")).error).toContain("nothing in it");
    expect((await readFacts("[1, 2")).error).toContain("not JSON");
  });

  test("of 50,000 rows is read in slices", async () => {
    const rows = Array.from({ length: 50_000 }, (_, index) => `The capital of {} is,Country ${index},Lyon`);
    let breaths = 0;
    const table = await readFacts(`prompt,subject,target_new\n${rows.join("\n")}`, async () => {
      breaths += 1;
    });
    expect(table.rows).toHaveLength(50_000);
    expect(table.rows.at(-1)?.line).toBe(50_001);
    expect(breaths).toBeGreaterThan(0);
  });
});
