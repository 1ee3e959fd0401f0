import { useState } from "preact/hooks";
import { away, Problem } from "../api/problem";

/** Something that a person starts: one at a time, and what went wrong is kept to be shown. */
export function useAction<A extends unknown[]>(act: (...given: A) => Promise<void>) {
  const [isRunning, setRunning] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const run = async (...given: A): Promise<void> => {
    if (isRunning) return;
    setRunning(true);
    setProblem(null);
    try {
      await act(...given);
    } catch (error) {
      setProblem(error instanceof Problem ? error : away());
    } finally {
      setRunning(false);
    }
  };
  return { run, isRunning, problem };
}
