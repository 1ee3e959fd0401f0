import { expect, test } from "vitest";
import cases from "./offer.cases.json";
import { offeredSubject, subjectSpans } from "./offer";

test.each(cases as [string, string[]][])("in “%s” subjects are what is quoted or capitalised, longest first", (prompt, texts) => {
  const spans = subjectSpans(prompt);
  expect(spans.map((span) => span.text)).toEqual(texts);
  for (const span of spans) expect(prompt.slice(span.start).startsWith(span.text)).toBe(true);
});

test("nothing is offered where there is no such span", () => {
  expect(offeredSubject("the end is")).toBeNull();
});
