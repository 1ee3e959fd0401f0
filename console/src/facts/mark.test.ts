import { describe, expect, test } from "vitest";
import { filled, partsOf, placeOf, subjectOf, withSlot } from "./mark";

const PROMPT = "The mother tongue of Danielle Darrieux is";

describe("marking a subject", () => {
  test("takes what was selected, without the white space around it", () => {
    expect(subjectOf(PROMPT, 20, 39)).toEqual({ subject: "Danielle Darrieux", start: 21 });
    expect(subjectOf(PROMPT, 20, 21)).toBeNull();
  });

  test("puts {} where it was marked, and not where the same text stands before", () => {
    const text = "Al met Al in Albany";
    expect(withSlot(text, "Al", 7)).toBe("Al met {} in Albany");
    expect(withSlot(text, "Al")).toBe("{} met Al in Albany");
  });

  test("prefers a word of its own to a part of another", () => {
    expect(placeOf("Although Al sang", "Al")).toBe(9);
    expect(placeOf("東京都は", "京都")).toBe(1);
    expect(placeOf("Al sang", "Bo")).toBe(-1);
  });

  test("reads a prompt that has {} already", () => {
    expect(partsOf("{} speaks", "Kurt Moll")).toEqual({ before: "", subject: "Kurt Moll", after: " speaks" });
    expect(filled({ prompt: "{} speaks", subject: "$& Co" })).toBe("$& Co speaks");
  });
});
