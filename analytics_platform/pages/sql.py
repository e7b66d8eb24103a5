"""SQL with its words told apart, and the tables it reads as links."""

import re
from collections.abc import Mapping

from markupsafe import Markup, escape

_TOKEN = re.compile(
    r"""
    (?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
  | (?P<string>'(?:[^']|'')*(?:'|\Z))
  | (?P<quoted>"(?:[^"]|"")*(?:"|\Z))
  | (?P<number>\b\d+(?:\.\d+)?\b)
  | (?P<table>\b(?:silver|reference|gold|bronze|quarantine)\.[A-Za-z_]\w*)
  | (?P<word>[A-Za-z_]\w*)
    """,
    re.DOTALL | re.VERBOSE,
)
_WORDS = """
all and any anti array as asc asof between bigint boolean by case cast cross current date desc distinct double else
end except exclude exists false filter first following from full group having ilike in inner integer intersect interval
is join last lateral left like limit natural not null nulls offset on or order outer over partition pivot preceding
qualify range right row rows select semi similar then timestamp true try_cast unbounded union unnest using values
varchar when where window with within
"""
_KEYWORDS = frozenset(_WORDS.split())


def highlighted(sql: str, links: Mapping[str, str]) -> Markup:
    """SQL as HTML: every letter of it escaped, words in spans by kind.

    Args:
        sql: Any text; what is no SQL is shown as it stands.
        links: Addresses of pages by table, as `silver.flight_departed`.
    """
    parts: list[Markup] = []
    end = 0
    for token in _TOKEN.finditer(sql):
        parts.append(escape(sql[end : token.start()]))
        parts.append(_shown(token.lastgroup or "", token.group(), links))
        end = token.end()
    parts.append(escape(sql[end:]))
    return Markup("").join(parts)


def _shown(kind: str, text: str, links: Mapping[str, str]) -> Markup:
    if kind == "table" and text in links:
        return Markup('<a class="table" href="{}">{}</a>').format(links[text], text)
    if kind == "word":
        return Markup('<b class="keyword">{}</b>').format(text) if text.lower() in _KEYWORDS else escape(text)
    return escape(text) if kind in {"table", "quoted"} else Markup('<span class="{}">{}</span>').format(kind, text)
