/** What each metric says, in words for whoever has not met it, and how its values are read. */

import { percent, ratio } from "./numbers";

interface Meaning {
  title: string;
  meaning: string;
  unit: "share" | "ratio";
}

const MEANINGS: Record<string, Meaning> = {
  EM: { title: "Exact match", meaning: "the target is said, token for token", unit: "share" },
  GA: { title: "Greedy answer", meaning: "what is said begins with the target", unit: "share" },
  GA_paraphrase: { title: "Greedy answer, reworded", meaning: "the same for other ways to ask", unit: "share" },
  GA_chat: { title: "Greedy answer in conversation", meaning: "the same when asked as a chat", unit: "share" },
  ES: { title: "Efficacy", meaning: "the new target is likelier than the old", unit: "share" },
  PS: { title: "Paraphrase", meaning: "the same for other ways to ask", unit: "share" },
  NS: { title: "Neighborhood", meaning: "facts about others keep their answer", unit: "share" },
  S: { title: "Score", meaning: "harmonic mean of efficacy, paraphrase and neighborhood", unit: "share" },
  portability: { title: "Portability", meaning: "what follows from the fact is said, too", unit: "share" },
  portability_ES: { title: "Portability, likelier", meaning: "what follows is likelier than before", unit: "share" },
  locality: { title: "Locality", meaning: "unrelated answers stay as they were", unit: "share" },
  zsRE_efficacy: { title: "zsRE efficacy", meaning: "share of target tokens that come first", unit: "share" },
  zsRE_paraphrase: { title: "zsRE paraphrase", meaning: "the same for other ways to ask", unit: "share" },
  zsRE_specificity: { title: "zsRE specificity", meaning: "unrelated answers keep their tokens", unit: "share" },
  zsRE_neighborhood: { title: "zsRE neighborhood", meaning: "tokens of unrelated answers that come first", unit: "share" },
  GE: { title: "Generation entropy", meaning: "low where text repeats itself", unit: "ratio" },
  judged: { title: "Judged", meaning: "right by the judge: the answer states the target", unit: "share" },
  drift: { title: "Drift", meaning: "how much harder ordinary text is to predict than before any edit; 1 is unchanged", unit: "ratio" },
};

export const meaningOf = (name: string): Meaning => MEANINGS[name] ?? { title: name, meaning: "", unit: "ratio" };

export const isShare = (name: string): boolean => meaningOf(name).unit === "share";

export const inUnit = (name: string, value: number | null): string =>
  value === null ? "–" : isShare(name) ? percent(value) : ratio(value);
