/** Comma- or tab-separated values as RFC 4180 has them: quotes, doubled quotes and line ends within quotes. */

export interface Row {
  /** Of its first character, from 1. */
  line: number;
  cells: string[];
}

/** Tab or semicolon where the first line has more of them than commas outside of quotes. */
export function separatorOf(text: string): string {
  const head = (text.split(/\r?\n/, 1)[0] ?? "").replace(/"[^"]*"/g, "");
  const count = (one: string) => head.split(one).length;
  return [",", "\t", ";"].reduce((best, one) => (count(one) > count(best) ? one : best));
}

/** Rows one by one, so that whoever reads a long file can breathe in between. Empty lines are left out. */
export function* rowsOf(text: string, separator: string): Generator<Row> {
  let line = 1;
  let at = 0;
  while (at < text.length) {
    const row: Row = { line, cells: [] };
    let ended = false;
    while (!ended) {
      const [cell, next, lines] = text[at] === '"' ? quoted(text, at, separator) : plain(text, at, separator);
      row.cells.push(cell);
      line += lines;
      at = next;
      if (text[at] === separator) at += 1;
      else ended = true;
    }
    if (text[at] === "\r") at += 1;
    if (text[at] === "\n") at += 1;
    line += 1;
    if (row.cells.some((cell) => cell.trim() !== "")) yield row;
  }
}

/** The cell, where it ends, and the line ends in it. */
function plain(text: string, start: number, separator: string): [string, number, number] {
  let end = start;
  while (end < text.length && text[end] !== separator && text[end] !== "\n" && text[end] !== "\r") end += 1;
  return [text.slice(start, end), end, 0];
}

function quoted(text: string, start: number, separator: string): [string, number, number] {
  let end = start + 1;
  for (;;) {
    const quote = text.indexOf('"', end);
    if (quote < 0) {
      end = text.length;
      break;
    }
    end = quote + 1;
    if (text[end] !== '"') break;
    end += 1;
  }
  const closed = text[end - 1] === '"' && end > start + 1;
  const inside = text.slice(start + 1, closed ? end - 1 : end);
  // What follows a closing quote belongs to the cell, as spreadsheets read it.
  const [tail, next] = plain(text, end, separator);
  return [inside.replaceAll('""', '"') + tail, next, inside.split("\n").length - 1];
}
