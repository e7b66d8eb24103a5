"""The schema of a contract as a registry keeps it: the same text for whoever publishes it and whoever writes by it."""

import json
from collections.abc import Sequence

from analytics_platform.contract.avro import avro_schema
from analytics_platform.contract.json_schema import json_schema
from analytics_platform.contract.model import EventContract
from analytics_platform.contract.proto import proto_schema
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat


def registered_schema(contract: EventContract, versions: Sequence[EventContract]) -> RegisteredSchema:
    """The schema of a contract whose `wire` is framed, in that format; JSON Schema in its closed form, for producers.

    Args:
        contract: What the value must be.
        versions: All of the event's, see `proto_schema`.
    """
    if contract.wire is WireFormat.PROTOBUF:
        return RegisteredSchema(WireFormat.PROTOBUF, proto_schema(contract, versions))
    made = avro_schema(contract) if contract.wire is WireFormat.AVRO else json_schema(contract, closed=True)
    return RegisteredSchema(contract.wire, json.dumps(made, ensure_ascii=False))
