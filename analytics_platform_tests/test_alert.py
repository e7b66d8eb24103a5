"""Findings never seen before: which they are, and what a webhook is told, by a server that really listens."""

import socket
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from analytics_platform import alert, quarantine
from analytics_platform.alert import post, unseen
from analytics_platform.fingerprint import identifier
from analytics_platform_tests.webhook import Webhook

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def rows(*items: tuple[str, int]) -> pl.LazyFrame:
    """Rows of (source, hour in which they were quarantined), all taken in before."""
    found = [
        {
            "topic": "orders",
            "contract": "order_placed@1.0.0",
            "source": source,
            "codes": ["rule_violated"],
            "reasons": ["cents: high"],
            "status": "new",
            "status_at": T0 + hour * HOUR,
            "ingested_at": T0 - HOUR,
        }
        for source, hour in items
    ]
    return pl.LazyFrame(found, schema=quarantine.SCHEMA)


def test_unseen_is_what_was_first_quarantined_since() -> None:
    found = unseen(rows(("old", 0), ("old", 2), ("new", 1), ("new", 2)), T0 + HOUR)
    assert found.select("source", "rows", "first_seen").rows() == [("new", 2, T0 + HOUR)]
    assert unseen(rows(), T0).is_empty()


def test_one_post_without_a_value_of_a_record(webhook: Webhook) -> None:
    assert post(webhook.url, "shop", unseen(rows(("jane@example.org", 0), ("jane@example.org", 1)), T0)) is None
    finding = {
        "fingerprint": identifier("order_placed@1.0.0", "orders", "rule_violated", "cents: high", "jane@example.org"),
        "contract": "order_placed@1.0.0",
        "topic": "orders",
        "code": "rule_violated",
        "rule": "cents: high",
        "rows": 2,
    }
    assert webhook.got == [("application/json", {"domain": "shop", "findings": [finding], "more": 0})]


def test_of_many_only_some_are_named(webhook: Webhook) -> None:
    post(webhook.url, "shop", unseen(rows(*[(f"made-up-{n}", 0) for n in range(25)]), T0))
    ((_, sent),) = webhook.got
    assert (len(sent["findings"]), sent["more"]) == (20, 5)


def test_a_webhook_that_refuses(webhook: Webhook) -> None:
    webhook.answer = 500
    assert (
        post(webhook.url, "shop", unseen(rows(("web", 0)), T0)) == "The alert was not taken: the webhook answered 500."
    )


def test_an_address_at_which_nobody_is() -> None:
    """And the address, which may hold a secret, is not told."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    said = post(f"http://127.0.0.1:{port}/s3cret", "shop", unseen(rows(("web", 0)), T0))
    assert said == "The alert was not sent: URLError."
    assert "http:// or https://" in str(post("file:///etc/passwd", "shop", unseen(rows(("web", 0)), T0)))


def test_a_webhook_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert, "_TIMEOUT", timedelta(seconds=0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = post(f"http://127.0.0.1:{silent.getsockname()[1]}/", "shop", unseen(rows(("web", 0)), T0))
    assert said == "The alert was not sent: TimeoutError."
