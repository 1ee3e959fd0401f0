import { useEffect, useState } from "preact/hooks";
import { away, Problem } from "../../api/problem";
import { Notice } from "../../parts/Notice";
import { percent } from "../../text/numbers";
import { answerOf, type Token } from "./answer";
import type { Question } from "./draft";

/** One version's answer, with how sure it was of every token. */
export function AnswerPanel({ model, version, asked }: { model: string; version: string; asked: Question }) {
  const [tokens, setTokens] = useState<Token[]>([]);
  const [isDone, setDone] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [seen, setSeen] = useState<Token | null>(null);
  useEffect(() => {
    const stop = new AbortController();
    void (async () => {
      try {
        for await (const some of answerOf(model, version, asked, stop.signal)) setTokens((known) => [...known, ...some]);
      } catch (error) {
        if (stop.signal.aborted) return;
        setProblem(error instanceof Problem ? error : away());
      }
      setDone(true);
    })();
    return () => stop.abort();
  }, []);
  return (
    <article class="card answer" aria-label={`Answer of ${version}`} aria-busy={!isDone}>
      <h2>{version}</h2>
      {asked.isChat && <p class="soft">{asked.prompt}</p>}
      <p class="said">
        <span class="soft">{asked.isChat ? "" : asked.prompt}</span>
        {tokens.map((token, index) => (
          <span
            key={index}
            class={token.probability === null ? undefined : `token ${sureness(token.probability)}`}
            onPointerEnter={() => setSeen(token)}
            onPointerLeave={() => setSeen(null)}
          >
            {token.text}
          </span>
        ))}
        {!isDone && <span class="caret" aria-hidden="true" />}
      </p>
      {problem && <Notice kind="bad">{problem.detail || problem.title}</Notice>}
      <p class="soft reading">{seen ? reading(seen) : isDone && tokens.length > 0 ? "Point at a token for its probability." : " "}</p>
      {isDone && tokens.length > 0 && <Probabilities tokens={tokens} version={version} />}
    </article>
  );
}

const reading = (token: Token): string =>
  token.probability === null
    ? "No probability was told."
    : `${shown(token.text)} ${percent(token.probability)}; ${token.others
        .filter((other) => other.text !== token.text)
        .map((other) => `${shown(other.text)} ${percent(other.probability)}`)
        .join(", ")}`;

const shown = (text: string): string => `“${text.replaceAll("\n", "⏎")}”`;

const SURENESS = [
  ["sure", 0.8, "above 80%"],
  ["likely", 0.4, "above 40%"],
  ["unsure", 0.1, "above 10%"],
  ["odd", 0, "less"],
] as const;

const sureness = (probability: number): string => SURENESS.find(([, least]) => probability > least)?.[0] ?? "odd";

/** What the marks of the tokens say. */
export function SurenessLegend() {
  return (
    <p class="soft small sureness">
      How probable each token was:{" "}
      {SURENESS.map(([name, , text]) => (
        <span key={name} class={`token ${name}`}>
          {text}
        </span>
      ))}
    </p>
  );
}

/** The same for those who do not point. */
function Probabilities({ tokens, version }: { tokens: readonly Token[]; version: string }) {
  return (
    <details class="numbers">
      <summary>Probabilities</summary>
      <div class="scroller" tabIndex={0} role="region" aria-label={`Token probabilities of ${version}`}>
        <table>
          <thead>
            <tr>
              <th scope="col">token</th>
              <th scope="col" class="number">
                probability
              </th>
              <th scope="col">others</th>
            </tr>
          </thead>
          <tbody>
            {tokens.map((token, index) => (
              <tr key={index}>
                <td>
                  <code>{token.text}</code>
                </td>
                <td class="number">{token.probability === null ? "–" : percent(token.probability)}</td>
                <td>{token.others.map((other) => `${shown(other.text)} ${percent(other.probability)}`).join(", ")}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
