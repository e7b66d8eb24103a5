import re

from hypothesis import example, given
from hypothesis import strategies as st
from markupsafe import escape

from analytics_platform.pages.sql import highlighted
from analytics_platform_tests.pages.tree import Html

LINKS = {"silver.order_placed": "../events/order_placed.html"}
PIECES = ["'", '"', "--", "/*", "*/", "\n", "<u>", "&lt;", "SELECT", "silver.order_placed", "1.5", " ", "a", "é", "\0"]


def test_words_are_told_apart() -> None:
    sql = "SELECT 'it''s' AS \"as\", 1.5, x1 -- FROM\nfrom silver.order_placed, silver.other /* 7"
    assert highlighted(sql, LINKS) == (
        '<b class="keyword">SELECT</b> <span class="string">&#39;it&#39;&#39;s&#39;</span> <b class="keyword">AS</b> '
        '&#34;as&#34;, <span class="number">1.5</span>, x1 <span class="comment">-- FROM</span>\n'
        '<b class="keyword">from</b> <a class="table" href="../events/order_placed.html">silver.order_placed</a>, '
        'silver.other <span class="comment">/* 7</span>'
    )


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=12).map("".join))
@example("'</span><script>")
def test_whatever_the_text_it_reads_as_it_was_written(sql: str) -> None:
    shown = str(highlighted(sql, LINKS))
    plain = re.sub(r"</?(?:b|span|a)(?: [^>]*)?>", "", shown)
    assert plain == escape(sql)
    assert {tag for tag, _ in Html(f"<pre>{shown}</pre>").tags} <= {"pre", "b", "span", "a"}
