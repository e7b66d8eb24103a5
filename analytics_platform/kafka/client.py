# ruff: noqa: SLF001  librdkafka's own error codes begin with an underscore, and so do their public names
"""How every client of the cluster is set up, and what its errors mean to us."""

import logging
from collections.abc import Mapping
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaException

from analytics_platform.errors import AccessDenied, BrokerUnavailable, KafkaError, SettingsError, UnknownTopic
from analytics_platform.settings import KafkaSettings

GROUP = "analytics-platform"
"""The consumer group that lag tools watch; where to resume is never read from it."""

_log = logging.getLogger("analytics_platform.kafka")
_codes = confluent_kafka.KafkaError
_REFUSED = frozenset(
    {
        _codes._AUTHENTICATION,
        _codes._SSL,
        _codes.SASL_AUTHENTICATION_FAILED,
        _codes.ILLEGAL_SASL_STATE,
        _codes.UNSUPPORTED_SASL_MECHANISM,
        _codes.TOPIC_AUTHORIZATION_FAILED,
        _codes.GROUP_AUTHORIZATION_FAILED,
        _codes.CLUSTER_AUTHORIZATION_FAILED,
        _codes.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
_UNKNOWN = frozenset(
    {_codes.UNKNOWN_TOPIC_OR_PART, _codes.UNKNOWN_TOPIC_ID, _codes._UNKNOWN_TOPIC, _codes.TOPIC_EXCEPTION}
)
_UNREACHABLE = frozenset(
    {
        _codes._TRANSPORT,
        _codes._ALL_BROKERS_DOWN,
        _codes._TIMED_OUT,
        _codes._TIMED_OUT_QUEUE,
        _codes._MSG_TIMED_OUT,
        _codes._RESOLVE,
        _codes._WAIT_COORD,
        _codes._DESTROY_BROKER,
        _codes.COORDINATOR_LOAD_IN_PROGRESS,
        _codes.COORDINATOR_NOT_AVAILABLE,
        _codes.NOT_COORDINATOR,
        _codes.LEADER_NOT_AVAILABLE,
        _codes.NOT_LEADER_FOR_PARTITION,
        _codes.BROKER_NOT_AVAILABLE,
        _codes.REPLICA_NOT_AVAILABLE,
        _codes.FENCED_LEADER_EPOCH,
        _codes.UNKNOWN_LEADER_EPOCH,
        _codes.KAFKA_STORAGE_ERROR,
        _codes.NETWORK_EXCEPTION,
        _codes.REQUEST_TIMED_OUT,
        _codes.OFFSET_NOT_AVAILABLE,
        _codes.UNKNOWN,
    }
)


class Connection:
    """What the clients of one cluster share: their settings, and the last thing librdkafka said went wrong."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Opens nothing."""
        self.servers = settings.bootstrap_servers
        self.timeout_s = settings.timeout.total_seconds()
        self._settings = settings
        self._last: confluent_kafka.KafkaError | None = None

    def client(self, kind: type[Any], config: Mapping[str, object]) -> Any:
        """A Consumer, Producer or AdminClient of this cluster.

        Raises:
            SettingsError: librdkafka refuses a setting.
        """
        ours = {
            "client.id": GROUP,
            # librdkafka wants more than the second it adds to the longest wait of a fetch.
            "socket.timeout.ms": max(2000, int(self.timeout_s * 1000)),
            "reconnect.backoff.max.ms": 1000,
            "error_cb": self._note,
            "logger": _log,
        }
        try:
            return kind({**ours, **config, **self._settings.client_config()})
        except KafkaException as refused:
            # librdkafka's sentence may quote a value, and a password is a value: only the name of the fault is told.
            reason = refused.args[0]
            text = reason.str() if reason.code() == _codes._INVALID_ARG else reason.name()
            for secret in (self._settings.sasl_password, self._settings.ssl_key_password):
                text = text.replace(str(secret), "***") if secret else text
            raise SettingsError([f"Kafka client: {text}"]) from None

    def trouble(self, cause: BaseException | confluent_kafka.KafkaError, doing: str, topic: str = "") -> KafkaError:
        """Our error for one of librdkafka's. `doing`: what was asked, as in `reading flights`."""
        error = cause.args[0] if isinstance(cause, KafkaException) else cause
        if not isinstance(error, confluent_kafka.KafkaError):
            return BrokerUnavailable(self.servers, doing, f"no answer in {self.timeout_s:g} s")
        last, self._last = self._last, None
        # A refused login shows itself as a request without an answer; the reason came on the other channel.
        if error.code() in _UNREACHABLE and last is not None and last.code() in _REFUSED:
            error = last
        if error.code() in _REFUSED:
            return AccessDenied(self.servers, doing, error.str().rstrip("."))
        if topic and error.code() in _UNKNOWN:
            return UnknownTopic(topic, self.servers)
        if error.code() in _UNREACHABLE or error.retriable():
            said = f"{error.str()} ({last.str()})" if last is not None else error.str()
            return BrokerUnavailable(self.servers, doing, said)
        return KafkaError(f"Kafka at {self.servers} answered {doing} with {error.name()}: {error.str()}")

    def passing(self, error: confluent_kafka.KafkaError) -> bool:
        """Whether a running client gets over this error by itself."""
        return error.code() in _UNREACHABLE or error.retriable()

    def _note(self, error: confluent_kafka.KafkaError) -> None:
        # "All brokers are down" follows every refused login and must not cover it up; no right to the group is no harm.
        if error.code() == _codes.GROUP_AUTHORIZATION_FAILED:
            return
        if self._last is None or self._last.code() not in _REFUSED:
            self._last = error
