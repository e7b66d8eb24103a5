"""A tree of contracts whose texts try to be HTML, with two versions of an event; and what the pages' HTML holds."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

from analytics_platform.contract.load import load_catalog
from analytics_platform.contract.model import Catalog
from analytics_platform.pages.measure import Measured
from analytics_platform_tests.contract.tree import ORDER, SALES_FILE, SQL_FILE, change, write_tree

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOTHING = Measured(AT, {}, {}, {})
EVIL = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
NOTE = f"""\
      - name: note
        logicalType: string
        deprecated: true
        classification: confidential
        customProperties: [{{property: treatment, vendor: analytics_platform, value: keep}}]
        examples: ['<b>hi</b>', 7]
        description: {json.dumps(EVIL)}
"""


def hostile(folder: Path) -> Catalog:
    """The tree with a second version of its event, and markup wherever a contract takes text."""
    contracts = write_tree(folder)
    text = ORDER.replace("version: 1.0.0", "version: 1.1.0").replace(
        "{purpose: Orders.,", f"{{purpose: {json.dumps(EVIL)},"
    )
    text = text.replace("      - {name: currency,", f"{NOTE}      - {{name: currency,")
    text = text.replace("O-[0-9]{3}'", "O-[0-9]{3}|</td><u>'").replace("value: cent}", "value: '<i>cent</i>'}")
    text = text.replace("order_placed\nname:", "order_placed<hr>\nname:", 1)
    text = text.replace("sql: cents = 0 OR", "sql: \"'</code><u>' = '&lt;' OR cents = 0 OR").replace(
        "IS NOT NULL}", 'IS NOT NULL"}'
    )
    (contracts / "shop/order_placed/1.1.0.odcs.yaml").write_text(text)
    (contracts / "shop/README.md").write_text(f"# Shop\n\n{EVIL}\n")
    change(folder, SQL_FILE, "GROUP BY", "WHERE '</pre><u>' <> '' -- </pre><u>\nGROUP BY")
    change(folder, SALES_FILE, "{purpose: Sales.}", f"{{purpose: {json.dumps(EVIL)}}}")
    return load_catalog(contracts)


_VOID = {"meta", "link", "input", "br", "hr", "img"}
_INLINE = {"a", "b", "code", "span"}


@dataclass
class Html(HTMLParser):
    """A page taken apart; refuses tags that do not close in the order they were opened."""

    text: str
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _INLINE or ("class", "note") in attrs:
            self.words.append(" ")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in {"script", "title"}:
            self.words.append(data)

    @property
    def said(self) -> str:
        """What a reader reads, with single spaces."""
        return " ".join("".join(self.words).split())

    def all(self, attribute: str) -> list[str]:
        """The values of an attribute, over all tags."""
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]
