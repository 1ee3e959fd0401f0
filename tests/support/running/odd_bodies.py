"""Bodies with facts that no one means: every kind of character, JSON broken in every way, wrong encodings, bombs."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

SUBJECTS: Final = ("Danielle Darrieux", "Toko Yasuda", "Michel Rocard", "Ada Lovelace", "Grace Hopper")
LANGUAGES: Final = ("French", "English", "Spanish", "German")
JSON, NDJSON = "application/json", "application/x-ndjson"
QUICK: Final = {"steps": 1, "contexts": 0, "repair_rounds": 0}
LOOSE: Final = {"EM": 0.0, "drift": 1e9, "retained": 1.0}
MEGABYTE: Final = 1_000_000
_PLACE: Final = "put the literal here"
_BOMB_BYTES: Final = 64 * MEGABYTE

CATEGORIES: Final = (
    *("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"),
    *("Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"),
)
ODD_TEXTS: Final = (
    *("", " ", "\t\n", "\x00", "a\x00b", "\x1b[31mred", "\x7f", "\x85", "\xa0", "\ufeff", "\ufffe", "\U0010ffff"),
    *("\ud800", "\udfff", "\ude00\ud83d", "\ud83d", "a\ud800b"),  # halves of pairs, and a pair the wrong way round
    *("\u202eevil\u202c", "\u200f\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u2066x\u2069"),  # right to left
    *("e\u0301", "a" + "\u0301" * 300, "\u0301", "\u200b", "a\u200db", "\u200c", "\u00ad"),  # marks and joiners
    *("\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1eb\U0001f1f7", "\ufdfa", "\u1100\u1161\u11a8"),
    *("İ", "ß", "ŉ", "ﬁ", "\u212b", "\u2126"),  # change their length when folded or normalised
    *("{}", "{}{}", "{{}}", "{0}", "{subject}", "%s", "%n", "${HOME}", "{{ 7*7 }}", "\\", '"', "'", "`", "\\u0000"),
    *("<s>", "</s>", "<s></s>", "<|endoftext|>", "<unk>", "Ġ", "\u2581"),  # what tokenizers have for themselves
    *("'; DROP TABLE facts; --", "../../etc/passwd", "<script>alert(1)</script>", "=1+1", "null", "NaN", "-0", "1e999"),
    *("Danielle Darrieux" * 3, "Danielle  Darrieux", " Danielle Darrieux ", "DANIELLE DARRIEUX", "x" * 10_000),
)
LITERALS: Final = (
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "1e-999",
        "-0",
        "-0.0",
        "1E+2",
        "01",
        "+1",
        "1.",
        ".5",
        "0x1F",
    ),
    *(
        "9" * 300,
        "9" * 401,
        "-" + "9" * 5000,
        "1" + "0" * 100_000,
        "1_000",
        "18446744073709551616",
        "9223372036854775808",
    ),
    *(
        "true",
        "false",
        "null",
        "None",
        "undefined",
        "tru",
        "'text'",
        '"',
        '"\\u12"',
        '"\\x41"',
        '"\\ud800"',
        '"\\u0000"',
    ),
    *(
        '"\x00"',
        '"\n"',
        '"\x1f"',
        "",
        ",",
        "[",
        "]",
        "{",
        "}",
        "[,]",
        "{,}",
        "[1,]",
        '{"a"}',
        '{"a":}',
        '{"a":1,"a":2}',
    ),
    *("[]", "{}", "[[]]", "[{}]", '{"": ""}', '{"\\ud800": 1}', '{"__proto__": {}}', '{"prompt": {}}', "/*", "//", "#"),
    *(("[" * depth + "]" * depth) for depth in (30, 200, 500, 900, 980, 10_000)),
    *(('{"a":' * depth + "1" + "}" * depth) for depth in (30, 200, 500, 900, 980, 10_000)),
    "[" * 10_000,
    '{"a":[' * 5_000,
)
ENCODINGS: Final = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "latin-1", "utf-7", "cp500")
BAD_BYTES: Final = (
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
    b"\x80",
    b"\x00",
    b"\xf8\x88",
)
LINE_ENDS: Final = ("\n", "\n", "\r\n", "\r", "\x0b", "\x85", "\u2028", "\n\n", ",\n", "\n \n", "\x00\n", " ", "")


@dataclass(frozen=True)
class Sent:
    """One POST. `facts` are what a 202 must have kept; None where the body was damaged, and luck decides."""

    path: str
    content: bytes
    headers: dict[str, str]
    query: dict[str, str] = field(default_factory=dict)
    facts: list[dict[str, Any]] | None = None
    chunked: bool = False

    def __repr__(self) -> str:
        """Short enough to be read where a test fails."""
        return f"Sent({self.path} {self.query} {self.headers} {len(self.content)} bytes {self.content[:300]!r})"


def texts() -> SearchStrategy[str]:
    """Mostly a few characters of one category; seldom a megabyte."""
    of_category = st.sampled_from(CATEGORIES).flatmap(
        lambda category: st.text(st.characters(categories=[category]), min_size=1, max_size=6)
    )
    mixed = st.text(st.characters(exclude_categories=[]), max_size=30)
    long = st.sampled_from(["x", "é", "\u0301", " ", "\U0001f600", "\x00", "\ud800", "{}"]).map(
        lambda one: one * MEGABYTE
    )
    plain = st.sampled_from([*SUBJECTS, *LANGUAGES])
    odd = st.sampled_from(ODD_TEXTS)
    return st.one_of(of_category, of_category, mixed, odd, odd, plain, st.one_of(odd, odd, mixed, long))


@st.composite
def facts(draw: DrawFn) -> dict[str, Any]:
    """Right but for a field or two: what is wrong in every field is refused for the first and tests no other."""
    fact: dict[str, Any] = {
        "prompt": draw(st.sampled_from(["The mother tongue of {} is", "{} speaks", "Everybody knows that {} speaks"])),
        "subject": draw(st.sampled_from(SUBJECTS)),
        "target_new": draw(st.sampled_from(LANGUAGES)),
    }
    for name in draw(st.lists(st.sampled_from(["subject", "subject", "target_new", "prompt", "others"]), max_size=2)):
        text = draw(texts())
        match name:
            case "prompt":
                fact["prompt"] = draw(
                    st.sampled_from([text, f"{text}{{}} is", f"{{}}{text}", f"{text}{fact['subject']}"])
                )
            case "others":
                fact["paraphrases"] = [f"{text} speaks"]
                fact["neighbors"] = [{"prompt": f"{text} is", "target": draw(st.sampled_from([None, text, "French"]))}]
            case _:
                fact[name] = text
    return fact


@st.composite
def bodies(draw: DrawFn, model: str) -> Sent:
    """To `/v1/edits` in either type, and to `/v1/evaluations`."""
    given = draw(st.lists(facts(), min_size=1, max_size=3))
    kind = draw(st.sampled_from(["whole", "whole", "whole", "literal", "literal", "bytes", "lines", "lines", "packed"]))
    if kind == "lines":
        return draw(_lines(model, given))
    path = draw(st.sampled_from(["/v1/edits", "/v1/edits", "/v1/edits", "/v1/evaluations"]))
    body: dict[str, Any] = {"model": model, "facts": given}
    if path == "/v1/edits":
        body |= {"settings": QUICK, "thresholds": LOOSE, "dry_run": draw(st.booleans())}
        if draw(st.booleans()):
            body["label"] = draw(texts())
    headers = {"Content-Type": JSON}
    if kind == "whole":
        chunked = draw(st.booleans())
        return Sent(path, _encoded(draw, body), headers, facts=given, chunked=chunked)
    if kind == "literal":
        return Sent(path, _with_literal(draw, body), headers)
    content = _encoded(draw, body)
    if kind == "packed":
        return _packed(draw, path, content)
    return Sent(path, _damaged(draw, content), headers)


def _encoded(draw: DrawFn, body: Any) -> bytes:
    if draw(st.booleans()):
        return json.dumps(body).encode()
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _with_literal(draw: DrawFn, body: dict[str, Any]) -> bytes:
    """Something that is no text in the place of a field."""
    literal = draw(st.sampled_from(LITERALS))
    place = draw(st.sampled_from(["prompt", "subject", "target_new", "target_old", "neighbors", "fact", "odd key"]))
    top = draw(
        st.sampled_from([None, None, "model", "facts", "label", "settings", "thresholds", "seed", "urgent", "x"])
    )
    if top == "seed":
        body["settings"] = {"seed": _PLACE}
    elif top is not None:
        body[top] = _PLACE
    elif place == "fact":
        body["facts"][0] = _PLACE
    else:
        body["facts"][0][place] = _PLACE
    return json.dumps(body).replace(json.dumps(_PLACE), literal).encode("utf-8", "surrogatepass")


def _damaged(draw: DrawFn, content: bytes) -> bytes:
    where = draw(st.integers(0, min(len(content) - 1, 4000)))
    match draw(st.sampled_from(["cut", "flip", "insert", "twice", "encoding", "after"])):
        case "cut":
            return content[:where]
        case "flip":
            return content[:where] + bytes([content[where] ^ (1 << draw(st.integers(0, 7)))]) + content[where + 1 :]
        case "insert":
            return content[:where] + draw(st.sampled_from(BAD_BYTES)) + content[where:]
        case "twice":
            return content + content
        case "encoding":
            return content.decode("utf-8", "replace").encode(draw(st.sampled_from(ENCODINGS)), "replace")
    return content + draw(st.sampled_from([b"\n", b"\x00", b" x", b",", b"]", b"\x1a", b"\xef\xbb\xbf"]))


def _packed(draw: DrawFn, path: str, content: bytes) -> Sent:
    """Compressed, or said to be; a bomb among them."""
    coding = draw(st.sampled_from(["gzip", "deflate", "br", "zstd", "identity", "gzip, gzip", "", "\xff"]))
    packed = {
        "gzip": lambda: gzip.compress(draw(st.sampled_from([content, b" " * _BOMB_BYTES])), 1),
        "deflate": lambda: zlib.compress(content),
    }.get(coding, lambda: content)()
    kinds = (
        JSON,
        f"{JSON}; charset=utf-16",
        f"{JSON};charset=",
        "text/json",
        "multipart/form-data",
        "",
        "a/b/c",
        ";",
        "\xff",
    )
    kind = draw(st.sampled_from(kinds))
    headers = {"Content-Type": kind, "Content-Encoding": coding}
    if draw(st.booleans()):
        headers["Idempotency-Key"] = draw(st.sampled_from(["k", "k" * 256, "\xe9", "", "a,b"]))
    if draw(st.booleans()):
        headers["If-Match"] = draw(
            st.sampled_from(['"v0"', "*", '"v٣"', '"v99999999999"', '""', "v0\xa0", '"v0", "v1"'])
        )
    return Sent(path, packed, headers, chunked=draw(st.booleans()))


@st.composite
def _lines(draw: DrawFn, model: str, given: list[dict[str, Any]]) -> Sent:
    lines = [json.dumps(fact) for fact in given]
    end = draw(st.sampled_from(LINE_ENDS))
    damage = draw(st.sampled_from([None, None, "literal", "pretty", "array", "blank first", "two records"]))
    match damage:
        case "literal":
            lines.append(draw(st.sampled_from(LITERALS)))
        case "pretty":
            lines = [json.dumps(fact, indent=1) for fact in given]
        case "array":
            lines = [json.dumps(given)]
        case "blank first":
            lines = ["", *lines]
        case "two records":
            lines = [" ".join(lines)]
    content = end.join([*lines, draw(st.sampled_from(["", "\n", "\n\n\n"]))]).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 3)) == 0:
        content = _damaged(draw, content)
    query = {"model": model}
    if draw(st.booleans()):
        # What a URL can hold: surrogates cannot be written in UTF-8.
        name = draw(st.sampled_from(["label", "algorithm", "model", "settings", "labél"]))
        query[name] = draw(texts().filter(lambda text: len(text) < 5000)).encode("utf-8", "replace").decode()
    return Sent("/v1/edits", content, {"Content-Type": NDJSON}, query)
