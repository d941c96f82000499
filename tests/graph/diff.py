"""The first differences between two protos, field by field: presence, order and values."""

from typing import Any

from google.protobuf.message import Message


def differences(left: Message, right: Message, limit: int = 10) -> list[str]:
    found: list[str] = []
    pending: list[tuple[str, Message, Message]] = [(left.DESCRIPTOR.name, left, right)]
    while pending and len(found) < limit:
        path, one, other = pending.pop()
        ours, theirs = ({d.name: v for d, v in m.ListFields()} for m in (one, other))
        for name in sorted({*ours, *theirs}):
            where = f"{path}.{name}"
            if name not in ours or name not in theirs:
                found.append(f"{where}: {'added' if name in theirs else 'lost'}")
                continue
            _compare(where, ours[name], theirs[name], found, pending)
    return found[:limit]


def _compare(where: str, one: Any, other: Any, found: list[str], pending: list[tuple[str, Message, Message]]) -> None:
    if isinstance(one, Message):
        pending.append((where, one, other))
    elif not hasattr(one, "extend"):
        if one != other and not (one != one and other != other):
            found.append(f"{where}: {one!r:.80} became {other!r:.80}")
    elif len(one) != len(other):
        found.append(f"{where}: {len(one)} items became {len(other)}")
    elif one and isinstance(one[0], Message):
        pending += [(f"{where}[{i}]", a, b) for i, (a, b) in enumerate(zip(one, other, strict=True))]
    elif repr(list(one)) != repr(list(other)):
        found.append(f"{where}: {list(one)!s:.80} became {list(other)!s:.80}")
