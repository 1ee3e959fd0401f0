/** A file or a paste as facts: CSV, JSON or JSON lines, each row with its own errors. Long ones are read in slices. */

import type { Fact } from "../api/types";
import { contradictions, factErrors, type FactError } from "./check";
import { rowsOf, separatorOf } from "./csv";
import { COLUMNS, NEEDED, readRecord, RENAMED, type Read } from "./records";

export interface FactRow {
  /** Where it stands in the file, from 1. */
  line: number;
  fact: Fact | null;
  /** What is to be seen of it where it is no fact. */
  shown: string;
  errors: FactError[];
  /** No subject was named; that of `fact` was found in its prompt. */
  isOffered: boolean;
}

export interface Table {
  format: string;
  rows: FactRow[];
  /** What is wrong with the file as a whole; no row was read then. */
  error: string | null;
}

const SLICE_MILLISECONDS = 12;

/** `breathe` is awaited between slices, so that the page goes on answering. */
export async function readFacts(text: string, breathe: () => Promise<void> = nextTask): Promise<Table> {
  const whole = text.replace(/^\uFEFF/, "");
  const start = whole.trimStart().slice(0, 1);
  if (start === "") return failed("empty", "There is nothing in it; paste facts or choose a file.");
  const [format, source] =
    start === "[" ? (["JSON", jsonRows(whole)] as const)
    : start === "{" ? (["JSON lines", lineRows(whole)] as const)
    : (["CSV", csvRows(whole)] as const);
  try {
    const rows = await inSlices(source, breathe);
    markContradictions(rows);
    return { format, rows, error: null };
  } catch (error) {
    if (error instanceof FileError) return failed(format, error.message);
    throw error;
  }
}

class FileError extends Error {}

const failed = (format: string, error: string): Table => ({ format, rows: [], error });
const nextTask = () => new Promise<void>((done) => setTimeout(done));

async function inSlices(source: Generator<FactRow>, breathe: () => Promise<void>): Promise<FactRow[]> {
  const rows: FactRow[] = [];
  let began = performance.now();
  for (const row of source) {
    rows.push(row);
    if (performance.now() - began > SLICE_MILLISECONDS) {
      await breathe();
      began = performance.now();
    }
  }
  return rows;
}

function* jsonRows(text: string): Generator<FactRow> {
  let records: unknown;
  try {
    records = JSON.parse(text);
  } catch (error) {
    throw new FileError(`This is not JSON: ${(error as Error).message}`);
  }
  if (!Array.isArray(records)) throw new FileError("The JSON is no list of facts.");
  let line = 0;
  for (const record of records as unknown[]) yield rowOf(++line, readRecord(record), () => JSON.stringify(record));
}

function* lineRows(text: string): Generator<FactRow> {
  const isOneObject = !/\}\s*\n\s*\{/.test(text.slice(0, 200_000)) && isJson(text);
  if (isOneObject) {
    const body = JSON.parse(text) as { facts?: unknown };
    const records = Array.isArray(body.facts) ? (body.facts as unknown[]) : [body];
    let line = 0;
    for (const record of records) yield rowOf(++line, readRecord(record), () => JSON.stringify(record));
    return;
  }
  let line = 0;
  for (const one of text.split(/\r?\n/)) {
    line += 1;
    if (one.trim() === "") continue;
    let record: unknown;
    try {
      record = JSON.parse(one);
    } catch {
      yield { line, fact: null, shown: one, errors: [{ field: "line", message: "is not JSON" }], isOffered: false };
      continue;
    }
    yield rowOf(line, readRecord(record), () => one);
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function* csvRows(text: string): Generator<FactRow> {
  const separator = separatorOf(text);
  const rows = rowsOf(text, separator);
  const head = rows.next();
  if (head.done) return;
  const names = head.value.cells.map((name) => name.trim().toLowerCase()).map((name) => RENAMED[name] ?? name);
  checkColumns(names);
  for (const row of rows) {
    const shown = row.cells.join(" · ");
    if (row.cells.length > names.length) {
      const message = `has ${row.cells.length} cells, and the head names ${names.length}; quote cells that contain “${separator}”`;
      yield { line: row.line, fact: null, shown, errors: [{ field: "row", message }], isOffered: false };
      continue;
    }
    yield rowOf(row.line, readRecord(recordOf(names, row.cells)), () => shown);
  }
}

function checkColumns(names: readonly string[]): void {
  const known: readonly string[] = COLUMNS;
  const wrong = names.filter((name) => !known.includes(name));
  // A subject that no column names is looked for in each prompt.
  const missing = NEEDED.filter((name) => name !== "subject" && !names.includes(name));
  const twice = names.filter((name, index) => names.indexOf(name) < index);
  const problems = [
    ...wrong.map((name) => `column “${name}” is not known`),
    ...missing.map((name) => `column “${name}” is missing`),
    ...twice.map((name) => `column “${name}” is there twice`),
  ];
  if (problems.length > 0) throw new FileError(`${sentence(problems)}. The first line names the columns: ${COLUMNS.join(", ")}.`);
}

const sentence = (parts: string[]): string => {
  const text = parts.join(", ");
  return text.charAt(0).toUpperCase() + text.slice(1);
};

/** Lists in a cell are JSON, or parted by a vertical bar. */
function recordOf(names: readonly string[], cells: readonly string[]): Record<string, unknown> {
  const record: Record<string, unknown> = {};
  names.forEach((name, index) => {
    const cell = cells[index] ?? "";
    if (name === "paraphrases" || name === "neighbors") record[name] = listOf(name, cell);
    else if (cell !== "" || name !== "target_old") record[name] = cell;
  });
  return record;
}

function listOf(name: string, cell: string): unknown {
  if (cell.trim().startsWith("[")) {
    try {
      return JSON.parse(cell);
    } catch {
      return cell;
    }
  }
  const texts = cell.split("|").map((text) => text.trim()).filter(Boolean);
  return name === "paraphrases" ? texts : texts.map((prompt) => ({ prompt }));
}

function rowOf(line: number, { fact, errors, isOffered }: Read, shown: () => string): FactRow {
  const wrong = fact ? factErrors(fact) : errors;
  return { line, fact, shown: fact ? "" : shown().slice(0, 300), errors: wrong, isOffered: isOffered === true && wrong.length === 0 };
}

function markContradictions(rows: FactRow[]): void {
  for (const [later, earlier] of contradictions(rows.map((row) => (row.errors.length > 0 ? null : row.fact)))) {
    const message = `contradicts line ${rows[earlier]?.line}: the same prompt and subject with another target`;
    rows[later]?.errors.push({ field: "target_new", message });
  }
}
