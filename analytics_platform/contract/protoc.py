"""Text of .proto files compiled to descriptors, by protoc itself.

Registries keep Protobuf schemas as text; what reads and writes by them wants descriptors.
"""

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import grpc_tools
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from analytics_platform.kafka.frame import RegisteredSchema

MAIN = "analytics_platform_main.proto"
"""The name under which the schema itself is compiled; no file that it imports can have it."""
_TIMEOUT_S = 60
_COMPLAINT = re.compile(r"^[^ :]+\.proto:(\d+:\d+:)? .+")


class ProtoInvalid(ValueError):
    """A text is no .proto file that protoc takes; the text is protoc's first complaint."""


@dataclass(frozen=True, slots=True)
class ProtoFile:
    """A compiled file, and the pool in which it and everything that it imports stand."""

    pool: DescriptorPool
    file: FileDescriptor


@lru_cache(maxsize=256)
def descriptors(schema: RegisteredSchema) -> ProtoFile:
    """Compile a schema; its references are the files that it imports, by their names.

    Google's own files, as `google/protobuf/timestamp.proto`, need not be among them.

    Raises:
        ProtoInvalid: protoc refuses it, what reads values cannot take it, or a reference has a name that is no relative path.
    """
    with tempfile.TemporaryDirectory(prefix="analytics-protoc-") as folder:
        root = Path(folder)
        for name, text in schema.references:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or name == MAIN:
                raise ProtoInvalid(f"{name}: not the name of a file to import")
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        (root / MAIN).write_text(schema.text, encoding="utf-8")
        files = FileDescriptorSet.FromString(_compiled(root))
    pool = DescriptorPool()
    try:
        for file in files.file:
            pool.AddSerializedFile(file.SerializeToString())
    except TypeError as error:  # as for thousands of fields in one message: protoc has no such limit
        raise ProtoInvalid(str(error).partition("\n")[0]) from error
    return ProtoFile(pool, pool.FindFileByName(MAIN))


def _compiled(root: Path) -> bytes:
    out = root / "descriptors.bin"
    google = Path(grpc_tools.__file__).parent / "_proto"
    # A process of its own: the text comes from outside, and what makes a compiler fall over must not take us along.
    arguments = [f"-I{root}", f"-I{google}", "--include_imports", f"--descriptor_set_out={out}", MAIN]
    command = [sys.executable, "-m", "grpc_tools.protoc", *arguments]
    done = subprocess.run(command, capture_output=True, cwd=root, timeout=_TIMEOUT_S, check=False)
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").splitlines()
        # Beside its complaints protoc writes a log; and it names the folder, which is nobody's business.
        found = (_COMPLAINT.search(line.replace(f"{root}/", "")) for line in lines)
        complaints = [match[0].removeprefix(f"{MAIN}:") for match in found if match and ": warning: " not in match[0]]
        raise ProtoInvalid(complaints[0] if complaints else "protoc refuses it")
    return out.read_bytes()
