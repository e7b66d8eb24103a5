from datetime import timedelta

import pytest

from analytics_platform.errors import BrokerUnavailable, KafkaError, NotDelivered, UnknownTopic
from analytics_platform.kafka.embedded import EmbeddedBroker
from analytics_platform.kafka.offsets import OffsetRange
from analytics_platform.kafka.produce import Record, create_topic, send
from analytics_platform_tests.kafka.conftest import new_name, settings_of


def test_no_records(settings, topic):
    assert send(settings.kafka, topic, []) == 0


def test_more_records_than_the_send_queue_holds(settings, topic, log):
    count = 120_000
    assert send(settings.kafka, topic, (Record(None, b"%d" % number) for number in range(count))) == count
    assert sum(marks.end for marks in log.state(topic).partitions.values()) == count


def test_order_of_one_key(settings, topic, log):
    send(settings.kafka, topic, [Record(b"key", b"%d" % number) for number in range(2000)])
    (partition,) = [number for number, marks in log.state(topic).partitions.items() if marks.end]
    frame = log.read(topic, [OffsetRange(partition, 0, 2000)], max_bytes=2**40).frame
    assert [int(bytes(value)) for value in frame["value"]] == list(range(2000))


def test_records_sent_before_the_source_failed_arrive(settings, topic, log):
    def source():
        yield Record(None, b"1", partition=0)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        send(settings.kafka, topic, source())
    assert log.state(topic).partitions[0].end == 1


def test_topic_is_there_already(settings, topic):
    assert not create_topic(settings.kafka, topic)


def test_topic_of_other_shape_on_the_embedded_broker(embedded):
    for shape in ({"partitions": 1}, {"config": {"retention.ms": "1"}}):
        with pytest.raises(KafkaError, match="the embedded broker makes topics of 4 partitions"):
            create_topic(settings_of(embedded).kafka, new_name(), **shape)


def test_topic_with_settings(apache_settings, apache_log):
    name = new_name()
    assert create_topic(apache_settings.kafka, name, partitions=7, config={"retention.ms": "1000"})
    assert len(apache_log.state(name).partitions) == 7


def test_topic_with_a_setting_kafka_does_not_know(apache_settings):
    with pytest.raises(KafkaError, match="INVALID_CONFIG"):
        create_topic(apache_settings.kafka, new_name(), config={"no.such": "1"})


def test_unknown_topic(apache_settings):
    with pytest.raises(UnknownTopic):
        send(apache_settings.kafka, new_name(), [Record(None, b"1")])


def test_record_the_broker_refuses(apache_settings, apache_topic):
    name = apache_topic()
    records = [Record(None, b"x" * size, partition=0) for size in (10, 3_000_000, 10)]
    with pytest.raises(NotDelivered) as caught:
        send(apache_settings.kafka, name, records)
    assert (caught.value.failed, caught.value.sent) == (1, 3)
    assert "Message size too large" in caught.value.reason


def test_header_name_that_is_no_text(settings, topic, log):
    records = [Record(None, b"%d" % number, [(name, None)], partition=0) for number, name in enumerate(("a", "\udcff"))]
    with pytest.raises(NotDelivered, match="the name of a header is not UTF-8"):
        send(settings.kafka, topic, records)
    assert log.state(topic).partitions[0].end == 1


def test_broker_down():
    kafka = settings_of("127.0.0.1:1", timedelta(seconds=1)).kafka
    with pytest.raises(BrokerUnavailable):
        send(kafka, "flights", [Record(None, b"1")])
    with pytest.raises(BrokerUnavailable):
        create_topic(kafka, "flights")


def test_broker_dies_while_sending():
    with EmbeddedBroker() as broker:

        def source():
            yield Record(None, b"1", partition=0)
            broker.stop()
            yield Record(None, b"2", partition=0)

        kafka = settings_of(broker.bootstrap_servers, timedelta(seconds=0.5)).kafka
        with pytest.raises(NotDelivered) as caught:
            send(kafka, "flights", source())
        assert caught.value.sent == 2
        assert caught.value.retryable
