"""Let an event type that was halted enter silver again, and take in at once what has waited."""

from collections.abc import Callable
from datetime import datetime

from analytics_platform import breaker, bronze, gold
from analytics_platform.catchup import catch_up
from analytics_platform.contract.model import Domain
from analytics_platform.kafka.offsets import Log
from analytics_platform.lake.table import Lake
from analytics_platform.schema_book import SchemaBook
from analytics_platform.settings import Settings


def resume(domain: Domain, settings: Settings, event: str, *, clock: Callable[[], datetime]) -> bool:
    """Resume a halted event type, down to the marts; whether it was halted. Kafka is not asked.

    Durable on return: what bronze holds of the type is in silver or in quarantine.
    If it dies halfway: the type is halted or it is not; the next burst takes in what is left.
    """
    lake = Lake(settings.lake, settings.fsync)
    if not breaker.resume(lake, domain, event, clock()):
        return False
    topic = domain.versions_of(event)[0].topic
    log_id = bronze.last_log_id(lake, topic)
    if log_id is not None:
        log = Log(topic, log_id)
        partitions = sorted(bronze.first_offsets(lake, log))
        halts = breaker.halts(lake, domain)
        with SchemaBook(lake, domain.name, settings.registry) as book:
            catch_up(lake, domain, log, partitions, settings, book=book, clock=clock, halted=halts)
        # A broken mart shows in the next burst, and starts over once it is mended.
        list(gold.refresh(lake, domain, {topic: (log, partitions)}))
    return True
