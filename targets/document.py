"""Target and stack files as nested dictionaries: reading, source labels, inheritance.

A number stands in a file as a *leaf*: `{ value = 700e6, source = "cacm2020", confidence = "high" }`. Labels of the
file's `[sources]` table are replaced by their text here, so that a leaf keeps its source when another file inherits it.
"""

import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roofwright.targets.errors import TargetError, closest, shown
from roofwright.targets.host import complete
from roofwright.targets.leaves import Document, is_leaf, merge

HERE = Path(__file__).parent
HOST = (HERE / "host.toml").resolve()
FREE_SOURCES = ("derived: ", "estimate: ", "read from this machine")
_LARGEST_FILE_BYTES = 1 << 20
_REFERENCE = re.compile(r"\((\w+)\)")  # a label in the middle of a derivation
_SIBLING = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def shipped_names(folder: Path) -> tuple[str, ...]:
    """Names of the descriptions in a folder of the package, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def locate(name_or_path: str | Path, folder: Path, kind: str) -> Path:
    """The file of a shipped name, or of a path (anything with a separator or the suffix `.toml`)."""
    text = str(name_or_path)
    if not text.isprintable():
        raise TargetError(f"{shown(text)}: a {kind}'s name or path must not hold control characters")
    if isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text or "\\" in text:
        return Path(name_or_path)
    names = list(shipped_names(folder))
    if text not in names:
        hint = closest(text, names) or f"; expected {_choices(kind, names)}, or the path of a .toml file"
        raise TargetError(f"unknown {kind} {shown(text)}{hint}")
    return folder / f"{text}.toml"


def _choices(kind: str, names: list[str]) -> str:
    """The names that would have been right, or where the many are listed."""
    return "a name that `roofwright targets` lists" if kind == "target" else f"one of {', '.join(names)}"


def relative(reference: object, owner: Path, key: str, folder: Path, kind: str) -> Path:
    """The file that `key` of `owner` refers to: a shipped name, or `NAME.toml` beside the owner."""
    if not isinstance(reference, str) or not _SIBLING.fullmatch(reference):
        raise TargetError(f"{owner}: {key}: expected a name or a file beside this one, found {shown(reference)}")
    if not reference.endswith(".toml"):
        return _shipped(reference, owner, key, folder, kind)
    path = owner.parent / reference
    if path.resolve().parent != owner.parent.resolve():
        raise TargetError(f"{owner}: {key}: {shown(reference)} leads out of the folder")
    return path


def read(path: Path) -> Document:
    """One file as it stands, its source labels replaced by their text; `inherit` is not followed."""
    document = _parse(path)
    _check_texts(document, path)
    sources = document.pop("sources", {})
    if not isinstance(sources, dict) or not all(isinstance(text, str) for text in sources.values()):
        raise TargetError(f"{path}: sources: expected a table of texts")
    _resolve_sources(document, sources, path)
    return document


def read_chain(path: Path, folder: Path, kind: str) -> Document:
    """A file merged over everything it inherits, nearest last."""
    layers: list[Document] = []
    seen: list[Path] = []
    while True:
        if path.resolve() in seen:
            raise TargetError(f"{path}: inherit: cyclic, {' -> '.join(p.name for p in [*seen, path])}")
        seen.append(path.resolve())
        layers.append(complete(read(path)) if path.resolve() == HOST else read(path))
        if "inherit" not in layers[-1]:
            break
        path = relative(layers[-1].pop("inherit"), path, "inherit", folder, kind)
    merged: Document = {}
    for layer in reversed(layers):
        merged = merge(merged, layer)
    return merged


def _shipped(name: str, owner: Path, key: str, folder: Path, kind: str) -> Path:
    try:
        return locate(name, folder, kind)
    except TargetError as error:
        raise TargetError(f"{owner}: {key}: {error}") from None


def _parse(path: Path) -> Document:
    try:
        return tomllib.loads(_bytes(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"{path}: not valid TOML: {shown(str(error))}") from None
    except RecursionError:
        raise TargetError(f"{path}: nested too deeply") from None


def _bytes(path: Path) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise TargetError(f"{path}: not a file")
        if found.st_size > _LARGEST_FILE_BYTES:
            raise TargetError(f"{path}: larger than {_LARGEST_FILE_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise TargetError(f"{path}: cannot be read: {error.strerror}") from None


def _check_texts(document: Document, path: Path) -> None:
    """Keys and texts are shown on terminals: no control characters in them."""
    pending: list[Any] = [document]
    while pending:
        item = pending.pop()
        if isinstance(item, str) and not item.isprintable():
            raise TargetError(f"{path}: {shown(item)} holds control characters")
        if isinstance(item, dict):
            pending += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            pending += item


def _resolve_sources(document: Document, sources: Mapping[str, str], path: Path) -> None:
    pending: list[tuple[str, Any]] = [("", document)]
    while pending:
        prefix, table = pending.pop()
        if is_leaf(table):
            table["source"] = _source(table.get("source"), sources, f"{path}: {prefix}")
        elif isinstance(table, dict):
            pending.extend((f"{prefix}.{key}" if prefix else key, value) for key, value in table.items())


def _source(label: object, sources: Mapping[str, str], where: str) -> str:
    if not isinstance(label, str):
        raise TargetError(f"{where}: source: missing; expected a label of [sources] or 'derived: ...'")
    if label.startswith(FREE_SOURCES):
        return _REFERENCE.sub(lambda found: f"({sources.get(found[1], found[1])})", label)
    if label not in sources:
        raise TargetError(f"{where}: source: {shown(label)} is not in [sources]{closest(label, list(sources))}")
    return sources[label]
