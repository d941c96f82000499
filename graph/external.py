"""Weights in files beside the model: where they may lie, and how they are opened.

A location is relative, made of plain names, and is opened component by component without following links, so that
nothing outside the model's folder can be read (CVE-2022-25882, CVE-2024-27318, CVE-2026-27489, CVE-2026-34446).
"""

import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from roofwright.graph.errors import UnsafeModelError, printable

_KEYS = {"location", "offset", "length", "checksum"}
_LONGEST_LOCATION = 1024
_LARGEST = 2**63 - 1
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of one tensor in a file beside the model."""

    location: str
    offset: int
    length_bytes: int


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the values lie outside the model file."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _number(text: str, what: str, name: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > _LARGEST:
        raise UnsafeModelError(f"tensor {name}: external {what} is {printable(text)!r}, expected a number of bytes")
    return int(text)


def _check_location(location: str, name: str) -> None:
    plain = unicodedata.normalize("NFKC", location)
    parts = plain.split("/")
    bad = (
        not location
        or len(location.encode("utf-8", "replace")) > _LONGEST_LOCATION
        or any(not c.isprintable() for c in location)
        or "\\" in plain
        or re.match(r"[A-Za-z]:", plain) is not None
        or any(part in ("", ".", "..") for part in parts)
        or plain.count("/") != location.count("/")
        or (plain != location and ".." in plain)
    )
    if bad:
        raise UnsafeModelError(
            f"tensor {name}: external location {printable(location)!r} is not a plain name inside the model's folder"
        )


def span_of(tensor: onnx.TensorProto, stored_bytes: int) -> Span:
    """Where an external tensor lies, by its own words (the file is not looked at).

    Args:
        tensor: a tensor whose data_location is EXTERNAL.
        stored_bytes: the size that its dims and type ask for.
    """
    name = printable(tensor.name)
    entries: dict[str, str] = {}
    for entry in tensor.external_data:
        if entry.key not in _KEYS or entry.key in entries:
            raise UnsafeModelError(f"tensor {name}: external data has an unexpected key {printable(entry.key)!r}")
        entries[entry.key] = entry.value
    location = entries.get("location", "")
    _check_location(location, name)
    offset = _number(entries.get("offset", "0"), "offset", name)
    length = _number(entries.get("length", str(stored_bytes)), "length", name)
    if length != stored_bytes:
        raise UnsafeModelError(f"tensor {name}: external length is {length}, its dims and type need {stored_bytes}")
    return Span(location, offset, length)


@dataclass(slots=True)
class Store:
    """The data files of one model, each opened only through here and only if it is what it was when first seen."""

    folder: Path
    _seen: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # location -> device, inode, bytes

    @contextmanager
    def open(self, location: str) -> Iterator[int]:
        """A file descriptor of a regular file in the folder; links of any kind, pipes and devices are refused."""
        handle = self._walk(location)
        try:
            self._check_file(location, os.fstat(handle))
            yield handle
        finally:
            os.close(handle)

    def _walk(self, location: str) -> int:
        *folders, last = location.split("/")
        handle = -1
        try:
            handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            for part in folders:
                outer, handle = handle, os.open(part, _FLAGS | os.O_DIRECTORY, dir_fd=handle)
                os.close(outer)
            if not stat.S_ISREG(os.stat(last, dir_fd=handle, follow_symlinks=False).st_mode):
                raise UnsafeModelError(f"external data {printable(location)!r} is not a regular file")
            outer, handle = handle, os.open(last, _FLAGS, dir_fd=handle)
            os.close(outer)
            return handle
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a valid name"
            if handle >= 0:
                os.close(handle)
            raise UnsafeModelError(f"external data {printable(location)!r} cannot be opened: {reason}") from None
        except UnsafeModelError:
            os.close(handle)
            raise

    def _check_file(self, location: str, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise UnsafeModelError(f"external data {printable(location)!r} is not a regular file of its own")
        identity = (found.st_dev, found.st_ino, found.st_size)
        if self._seen.setdefault(location, identity) != identity:
            raise UnsafeModelError(f"external data {printable(location)!r} changed while the model was in use")

    def check(self, named: list[tuple[str, Span]]) -> None:
        """Every span lies inside its file, and no two overlap unless they are the same."""
        by_location: dict[str, list[tuple[int, int, str]]] = {}
        for name, span in named:
            by_location.setdefault(span.location, []).append((span.offset, span.offset + span.length_bytes, name))
        for location, spans in by_location.items():
            with self.open(location):
                size = self._seen[location][2]
            self._check_spans(location, sorted(set(spans)), size)

    @staticmethod
    def _check_spans(location: str, spans: list[tuple[int, int, str]], size: int) -> None:
        last = (0, 0)
        for start, end, name in spans:
            where = f"tensor {printable(name)}: bytes {start} to {end} of external data {printable(location)!r}"
            if end > size:
                raise UnsafeModelError(f"{where} end after the file ({size} bytes)")
            if start < last[1] and (start, end) != last:
                raise UnsafeModelError(f"{where} overlap another tensor's")
            if end > start:
                last = (start, end)

    def read(self, span: Span) -> NDArray[np.uint8]:
        """The bytes of a span, mapped, not loaded."""
        if not span.length_bytes:
            return np.zeros(0, np.uint8)
        with self.open(span.location) as handle, os.fdopen(os.dup(handle), "rb") as file:
            mapped: NDArray[Any] = np.memmap(file, np.uint8, "r", span.offset, (span.length_bytes,))
        return mapped
