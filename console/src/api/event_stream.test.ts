import { expect, test } from "vitest";
import { EventParser } from "./event_stream";

const TEXT = 'retry: 2000\n\n: still here\n\nevent: state\r\ndata: {"a":\r\ndata: 1}\r\nid: 7\r\n\r\ndata:[DONE]\n\n';
const EVENTS = [
  { event: "state", data: '{"a":\n1}', id: "7" },
  { event: "message", data: "[DONE]", id: "7" },
];

test("events are read whole, wherever the pieces end", () => {
  for (let size = 1; size <= TEXT.length; size += 1) {
    const parser = new EventParser();
    const found = [];
    for (let at = 0; at < TEXT.length; at += size) found.push(...parser.push(TEXT.slice(at, at + size)));
    expect(found, `pieces of ${size}`).toEqual(EVENTS);
  }
});
