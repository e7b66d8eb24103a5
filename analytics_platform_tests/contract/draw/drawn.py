"""From a sketch to the contract that its draft loads as."""

import json
import tempfile
from pathlib import Path
from typing import Any

from analytics_platform.contract.avro import avro_schema
from analytics_platform.contract.draw.avro import avro_sketch
from analytics_platform.contract.draw.file import check_draft, draft_path, write_draft
from analytics_platform.contract.draw.json_schema import json_schema_sketch
from analytics_platform.contract.draw.plan import Plan, Wishes, plan
from analytics_platform.contract.draw.sketch import Sketch
from analytics_platform.contract.draw.text import draft_text
from analytics_platform.contract.json_schema import json_schema
from analytics_platform.contract.load import load_domain
from analytics_platform.contract.model import EventContract, Field
from analytics_platform.kafka.frame import RegisteredSchema, WireFormat

SCHEMAS = Path(__file__).parent / "schemas"


def of_json(schema: Any, kind: WireFormat = WireFormat.JSON) -> Sketch:
    return json_schema_sketch(RegisteredSchema(kind, json.dumps(schema)), "x.json")


def of_avro(schema: Any) -> Sketch:
    return avro_sketch(RegisteredSchema(WireFormat.AVRO, json.dumps(schema)), "x.avsc")


def loaded(made: Plan) -> EventContract:
    """What the loader makes of the draft's text."""
    with tempfile.TemporaryDirectory() as folder:
        contracts = Path(folder) / "contracts"
        path = draft_path(contracts, made.wishes)
        check_draft(contracts, made.wishes, draft_text(made))
        write_draft(path, draft_text(made))
        (event,) = load_domain(contracts / made.wishes.domain).events
    return event


def drawn(sketch: Sketch, *key: str, event: str = "order_placed", time_field: str | None = None) -> Plan:
    return plan(sketch, Wishes("shop", event, "orders", key, time_field))


def left_out(sketch: Sketch, *key: str) -> dict[str, str]:
    """What is left out, and why."""
    return {one.what: one.why for one in drawn(sketch, *key).left_out}


def payload(sketch: Sketch, *key: str) -> dict[str, Field]:
    """The fields of the loaded contract, without the envelope, by name."""
    event = loaded(drawn(sketch, *key))
    return {field.name: field for field in event.fields[6:]}


def in_any_order(schema: Any) -> Any:
    """A JSON Schema, or an Avro schema, in which the order of fields makes no difference."""
    if isinstance(schema, list):
        return [in_any_order(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: in_any_order(value) for name, value in schema.items()}
    if isinstance(found.get("required"), list):
        found["required"] = sorted(found["required"])
    if isinstance(found.get("fields"), list):
        found["fields"] = sorted(found["fields"], key=lambda one: str(one["name"]))
    return found


def again_json(of: EventContract, *key: str, closed: bool = False) -> Any:
    """The schema of a contract started from its own schema."""
    sketch = of_json(json_schema(of, closed=closed))
    return json_schema(loaded(drawn(sketch, *key, event=sketch.name)), closed=closed)


def again_avro(of: EventContract, *key: str) -> Any:
    sketch = of_avro(avro_schema(of))
    return avro_schema(loaded(drawn(sketch, *key, event=sketch.name)))
