"""The page's one style, and the policy under which a browser shows it: no script, no other host, this style alone."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1f24; --soft: #5b6470; --line: #d8dde3; --bad: #a3211c;
  --v0: #2b62b5; --v1: #b8590b; --v2: #2f7d4f; --v3: #8a3fa0; --v4: #6b6f16; --v5: #b02a5b; --v6: #0d7d86; --v7: #555 }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171b; --ink: #e6e9ed; --soft: #9aa4b0; --line: #363d46; --bad: #ff8f88;
    --v0: #7fb0ff; --v1: #f2a35c; --v2: #79cf9d; --v3: #cf9be0; --v4: #c9cf62; --v5: #f291b6; --v6: #6bd3db;
    --v7: #bbb }
}
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 68rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
h3 { font-size: 1rem; margin: 0 0 .25rem }
p, figcaption, .soft { color: var(--soft); margin: .25rem 0 }
.bad { color: var(--bad) }
.charts { display: grid; gap: 1rem 2rem; grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr)) }
figure { margin: 0; padding: .5rem 0; border-top: 1px solid var(--line) }
.bar { display: grid; grid-template-columns: 3rem minmax(0, 1fr) 3.5rem; gap: .5rem; align-items: center;
  font-size: .85rem }
.bar svg { width: 100%; height: 1.1rem; display: block }
.bar .value { text-align: right; font-variant-numeric: tabular-nums }
.track { fill: var(--line); opacity: .5 }
.whisker { stroke: var(--ink); stroke-width: 1.5; vector-effect: non-scaling-stroke }
.zero { fill: var(--bad) } .part { fill: var(--soft) } .one { fill: var(--v2) }
.c0 { fill: var(--v0) } .c1 { fill: var(--v1) } .c2 { fill: var(--v2) } .c3 { fill: var(--v3) }
.c4 { fill: var(--v4) } .c5 { fill: var(--v5) } .c6 { fill: var(--v6) } .c7 { fill: var(--v7) }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .9rem; overflow-wrap: normal }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line) }
td:last-child { min-width: 16rem }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
ol { list-style: none; margin: 0; padding: 0 }
li { padding: .75rem 0; border-top: 1px solid var(--line) }
dl { display: grid; grid-template-columns: minmax(0, 9rem) minmax(0, 1fr); gap: .15rem .75rem; margin: .35rem 0 0;
  font-size: .9rem }
dt { color: var(--soft) } dd { margin: 0; white-space: pre-wrap }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr } dd { margin-bottom: .35rem } }
@media print { body { max-width: none } li, figure { break-inside: avoid } }
"""

_DIGEST: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy."""
