"""The pages as a browser shows them, from files and with the network cut off."""

import json
import re
from html import unescape
from pathlib import Path

import pytest

from analytics_platform.contract.load import load_catalog
from analytics_platform.pages.site import site, write_site
from analytics_platform_tests.pages.browser import dom, title
from analytics_platform_tests.pages.tree import NOTHING, hostile

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
PHONE, DESKTOP = 390, 1280

PROBE = """
<script>
addEventListener("load", () => {
  const style = getComputedStyle(document.body), box = document.querySelector("svg rect");
  parent.postMessage({
    page: document.querySelector("h1").innerText,
    title: document.title,
    wide: document.documentElement.scrollWidth - innerWidth,
    styled: style.backgroundColor,
    drawn: box.getBoundingClientRect().width > 50,
    stroke: getComputedStyle(box).stroke,
    head: getComputedStyle(document.querySelector("table.fields thead, table.list thead")).display,
  }, "*");
});
</script>
</body>
"""
FRAMES = """<!doctype html><body><pre></pre>
<script>
const found = [];
addEventListener("message", event => {
  found.push(event.data);
  document.querySelector("pre").textContent = JSON.stringify(found);
});
</script>
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of the hostile tree and of the shipped contracts."""
    found = tmp_path_factory.mktemp("site with a space")
    write_site(site(hostile(tmp_path_factory.mktemp("tree")), NOTHING), found / "shop")
    write_site(site(load_catalog(ROOT / "contracts"), NOTHING), found / "flights")
    return found


def test_pages_fit_a_phone_and_a_desktop_and_no_contract_runs_a_script(folder: Path, tmp_path: Path) -> None:
    pages = [
        "shop/index.html",
        "shop/events/order_placed.html",
        "flights/index.html",
        "flights/marts/carrier_daily.html",
    ]
    frames = FRAMES
    for page in pages:
        text = (folder / page).read_text()
        (folder / page).with_suffix(".probe.html").write_text(text.replace("</body>", PROBE))
        for width in (PHONE, DESKTOP):
            address = page.replace(".html", ".probe.html")
            frames += f'<iframe width="{width}" height="900" src="{address}"></iframe>'
    (folder / "frames.html").write_text(frames)

    shown = re.search(r"<pre>(.*?)</pre>", dom(folder / "frames.html", tmp_path / "profile"))

    assert shown
    found = json.loads(unescape(shown[1]))
    assert len(found) == 2 * len(pages)
    for one in found:
        assert one["wide"] <= 0, one
        assert one["drawn"], one
        assert one["styled"] in {"rgb(251, 251, 250)", "rgb(20, 23, 26)"}, one
        assert one["stroke"].startswith("rgb("), one
    assert sorted({(one["page"], one["title"]) for one in found}) == [
        ("Contracts", "Contracts"),
        ("gold.carrier_daily", "gold.carrier_daily"),
        ("silver.order_placed", "silver.order_placed"),
    ]
    # On a phone, lines of a table stand below each other, without its head.
    assert sorted(one["head"] for one in found) == ["none"] * len(pages) + ["table-header-group"] * len(pages)


def test_the_filter_of_the_index(folder: Path, tmp_path: Path) -> None:
    def listed(fragment: str) -> list[str]:
        html = dom(folder / "flights/index.html", tmp_path / "profile", fragment)
        assert '<label class="search" id="search">' in html
        rows = re.findall(r'<tr data-find="(\S+)[^>]*?"( hidden="")?>', html)
        assert len(rows) == 14
        return [name for name, hidden in rows if not hidden]

    assert len(listed("")) == 14
    assert listed("#q=Daily%20team%3Aanalytics") == ["gold.carrier_daily", "gold.airport_daily"]
    assert listed("#q=nothing-of-the-kind") == []


def test_a_script_in_a_contract_stays_text(folder: Path, tmp_path: Path) -> None:
    html = dom(folder / "shop/events/order_placed.html", tmp_path / "profile")
    assert title(html) == "silver.order_placed"
    assert "<script" not in html
    assert "<img" not in html
