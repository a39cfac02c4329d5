"""The oracle of Amazon Record: the schema as a descriptor, and RecordIO framing by hand."""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_F = descriptor_pb2.FieldDescriptorProto
_ONE, _MANY = _F.LABEL_OPTIONAL, _F.LABEL_REPEATED


def _tensor(name: str, kind: int, packed: bool) -> descriptor_pb2.DescriptorProto:
    message = descriptor_pb2.DescriptorProto(name=name)
    for number, (field, of) in enumerate((("values", kind), ("keys", _F.TYPE_UINT64), ("shape", _F.TYPE_UINT64)), 1):
        made = message.field.add(name=field, number=number, type=of, label=_MANY)
        made.options.packed = packed
    return message


def _file(packed: bool) -> descriptor_pb2.FileDescriptorProto:
    package = "aialgs.data" if packed else "aialgs.unpacked"
    out = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    tensors = (
        ("Float32Tensor", _F.TYPE_FLOAT, 2),
        ("Float64Tensor", _F.TYPE_DOUBLE, 3),
        ("Int32Tensor", _F.TYPE_INT32, 7),
    )
    for name, kind, _ in tensors:
        out.message_type.append(_tensor(name, kind, packed))
    data = out.message_type.add(name="Bytes")
    data.field.add(name="value", number=1, type=_F.TYPE_BYTES, label=_MANY)
    data.field.add(name="content_type", number=2, type=_F.TYPE_STRING, label=_ONE)
    value = out.message_type.add(name="Value")
    value.oneof_decl.add(name="value")
    fields = [(name, number) for name, _, number in tensors] + [("Bytes", 9)]
    lower = {"Float32Tensor": "float32_tensor", "Float64Tensor": "float64_tensor", "Int32Tensor": "int32_tensor"}
    for name, number in fields:
        field = value.field.add(name=lower.get(name, "bytes"), number=number, type=_F.TYPE_MESSAGE, label=_ONE)
        field.type_name = f".{package}.{name}"
        field.oneof_index = 0
    record = out.message_type.add(name="Record")
    for number, (name, entry) in enumerate((("features", "FeaturesEntry"), ("label", "LabelEntry")), 1):
        nested = record.nested_type.add(name=entry)
        nested.options.map_entry = True
        nested.field.add(name="key", number=1, type=_F.TYPE_STRING, label=_ONE)
        nested.field.add(name="value", number=2, type=_F.TYPE_MESSAGE, label=_ONE, type_name=f".{package}.Value")
        record.field.add(
            name=name, number=number, type=_F.TYPE_MESSAGE, label=_MANY, type_name=f".{package}.Record.{entry}"
        )
    for number, name in enumerate(("uid", "metadata", "configuration"), 3):
        record.field.add(name=name, number=number, type=_F.TYPE_STRING, label=_ONE)
    return out


@functools.cache
def record_class(packed: bool = True) -> Any:
    """Return the Record class; ``packed=False`` writes repeated fields one by one."""
    pool = descriptor_pool.DescriptorPool()
    made = _file(packed)
    pool.Add(made)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{made.package}.Record"))


def frame(payloads: Iterable[bytes]) -> bytes:
    """Return payloads as RecordIO, one record each."""
    return b"".join(struct.pack("<II", 0xCED7230A, len(p)) + p + bytes(-len(p) % 4) for p in payloads)


def unframe(body: bytes) -> list[bytes]:
    """Return the payloads of whole records, by a plain loop."""
    out, at = [], 0
    while at < len(body):
        magic, size = struct.unpack_from("<II", body, at)
        assert magic == 0xCED7230A
        out.append(body[at + 8 : at + 8 + size])
        assert not any(body[at + 8 + size : at + 8 + size + -size % 4])
        at += 8 + size + -size % 4
    assert at == len(body)
    return out


def serialise(records: Iterable[Any]) -> bytes:
    """Return records as RecordIO, serialised deterministically."""
    return frame(r.SerializeToString(deterministic=True) for r in records)
