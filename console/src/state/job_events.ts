/** A batch's life as it happens: its events, and its progress in between. */

import { useEffect, useState } from "preact/hooks";
import { stream } from "../api/client";
import { Problem } from "../api/problem";
import { FINAL_STATES, type EditEvent, type EditProgress } from "../api/types";

export interface Life {
  events: EditEvent[];
  progress: EditProgress | null;
}

const AGAIN_MILLISECONDS = 1500;

/** Followed until the batch has ended; where the connection breaks, from the last event that came. */
export function useJobEvents(id: string, onEnd: () => void): Life {
  const [life, setLife] = useState<Life>({ events: [], progress: null });
  useEffect(() => {
    const stop = new AbortController();
    void follow(id, stop.signal, setLife).then((hasEnded) => hasEnded && onEnd());
    return () => stop.abort();
  }, [id]);
  return life;
}

type Change = (change: (life: Life) => Life) => void;

/** Whether the batch has ended, rather than nobody looking any more. */
async function follow(id: string, signal: AbortSignal, change: Change): Promise<boolean> {
  let last = "";
  while (!signal.aborted) {
    try {
      const headers: Record<string, string> = last === "" ? {} : { "Last-Event-ID": last };
      for await (const { event, data, id: eventId } of stream("get", "/v1/edits/{edit_id}/events", { path: { edit_id: id }, headers, signal })) {
        if (event === "progress") {
          const progress = JSON.parse(data) as EditProgress;
          change((life) => ({ ...life, progress }));
        } else if (event !== "error") {
          const told = JSON.parse(data) as EditEvent;
          last = eventId ?? last;
          change((life) => ({ ...life, events: [...life.events, told] }));
          if (told.state && FINAL_STATES.includes(told.state)) return true;
        }
      }
    } catch (error) {
      if (error instanceof Problem && error.status >= 400 && error.status < 500 && error.status !== 401 && error.status !== 429) return false;
    }
    if (!signal.aborted) await new Promise((done) => setTimeout(done, AGAIN_MILLISECONDS));
  }
  return false;
}
