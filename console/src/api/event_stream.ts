/** Server-sent events, read from a body piece by piece (WHATWG HTML, 9.2.6). */

export interface ServerEvent {
  event: string;
  data: string;
  id: string | null;
}

/** Text in, whole events out. Pieces may end anywhere, also between CR and LF. */
export class EventParser {
  private rest = "";
  private data: string[] = [];
  private event = "message";
  private id: string | null = null;

  push(piece: string): ServerEvent[] {
    const found: ServerEvent[] = [];
    this.rest += piece;
    // A CR at the very end may be half of a CR LF: it waits for what follows.
    const ready = this.rest.endsWith("\r") ? this.rest.slice(0, -1) : this.rest;
    const lines = ready.split(/\r\n|\n|\r/);
    this.rest = (lines.pop() ?? "") + this.rest.slice(ready.length);
    for (const line of lines) {
      const whole = this.line(line);
      if (whole !== null) found.push(whole);
    }
    return found;
  }

  private line(line: string): ServerEvent | null {
    if (line === "") return this.dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return null;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.data.push(value);
    else if (name === "event") this.event = value;
    else if (name === "id" && !value.includes("\0")) this.id = value;
    return null;
  }

  private dispatch(): ServerEvent | null {
    const whole = this.data.length === 0 ? null : { event: this.event, data: this.data.join("\n"), id: this.id };
    this.data = [];
    this.event = "message";
    return whole;
  }
}

export async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new EventParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
