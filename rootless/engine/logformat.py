"""How output stands in a log file: Docker's json-file, and the text form of Kubernetes' CRI. Pure; ring 1.

Both are byte-exact. Bytes that are not UTF-8 are lone surrogates in JSON (\\udc80 to \\udcff, as PEP 383),
which other readers show as replacement characters; the CRI's form has them as they are.

Output comes in blocks of many lines: they are made entries of by replacing bytes in the whole block, not line
by line.
"""

from __future__ import annotations

from layers import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Entry = tuple[str, str, bytes, Mapping[str, str]]
    """(time, stream, text, attributes); times order as text. A text without newline is a part of a line."""

_PLAIN = bytes(set(range(0x20, 0x100)) - set(b'"\\')) + b"\n"
"""Bytes that a JSON string can hold as they are, and the newline, which is replaced last."""
_ESCAPES = {n: b"\\u%04x" % n for n in range(0x20)} | {
    ord("\\"): b"\\\\",
    ord('"'): b'\\"',
    ord("\b"): b"\\b",
    ord("\t"): b"\\t",
    ord("\f"): b"\\f",
    ord("\r"): b"\\r",
}
_DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading a line of any content may raise."""
_STREAMS = ("stdout", "stderr")
_WHOLE = b"F"
_PART = b"P"


class Format:
    """One kind of log.

    Attributes:
        file_name: of the log in the container's directory.
        encode: makes whole entries of output; see `encode_json`.
        parse: returns the entries of lines without their newlines; see `parse_json`.
    """

    __slots__ = ("encode", "file_name", "parse")

    def __init__(
        self,
        file_name: str,
        *,
        encode: Callable[[bytes, str, bytes, bytes], bytes],
        parse: Callable[[list[bytes]], list[Entry]],
    ) -> None:
        self.file_name = file_name
        self.encode = encode
        self.parse = parse


def encode_json(text: bytes, stream: str, stamp: bytes, attributes: bytes) -> bytes:
    """Return an entry for each line of `text`, and one for what follows the last newline.

    Args:
        text: not empty.
        attributes: of `encode_attributes`.
    """
    for byte in sorted(set(text.translate(None, _PLAIN)), reverse=True):  # "\\" first: others bring it in
        text = text.replace(bytes((byte,)), _ESCAPES[byte])
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            text = text.decode("utf-8", "surrogateescape").encode("utf-8", "backslashreplace")
    head = b'{"log":"'
    tail = b'","stream":"%b"%b,"time":"%b"}\n' % (stream.encode(), attributes, stamp)
    entries = head + text.replace(b"\n", b"\\n" + tail + head)
    return entries[: -len(head)] if text.endswith(b"\n") else entries + tail


def encode_attributes(attributes: Mapping[str, str]) -> bytes:
    """Return what stands between an entry's stream and its time."""
    return f',"attrs":{jsontext.dumps(dict(attributes))}'.encode() if attributes else b""


def parse_json(lines: list[bytes]) -> list[Entry]:
    """Return the entries of whole lines, in their order; damaged ones are passed over.

    All of them are decoded at once, which takes a third of the time; where one is damaged, one by one.
    """
    try:
        found = jsontext.loads(b"[" + b",".join(lines) + b"]")
        if len(found) == len(lines):
            return [_entry(fields) for fields in found]
    except _DAMAGED:
        pass
    entries = []
    for line in lines:
        try:
            entries.append(_entry(jsontext.loads(line)))
        except _DAMAGED:
            continue
    return entries


def _entry(fields: dict[str, Any]) -> Entry:
    stamp, stream, text = fields["time"], fields["stream"], fields["log"]
    if stream not in _STREAMS or not isinstance(stamp, str):
        raise ValueError("no entry of a log")
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that no writer of ours makes
        data = text.encode("utf-8", "replace")
    attributes = fields.get("attrs")
    return stamp, stream, data, attributes if isinstance(attributes, dict) else {}


def encode_cri(text: bytes, stream: str, stamp: bytes, attributes: bytes = b"") -> bytes:
    """As `encode_json`, without attributes: the form has no place for them.

    Shape: kubernetes design-proposals, kubelet-cri-logging.md: "TIME STREAM P|F TEXT".
    """
    end = text.rfind(b"\n") + 1
    head = b"%b %b " % (stamp, stream.encode())
    whole = head + _WHOLE + b" "
    entries = (whole + text[:end].replace(b"\n", b"\n" + whole))[: -len(whole)] if end else b""
    return entries + head + _PART + b" " + text[end:] + b"\n" if end < len(text) else entries


def parse_cri(lines: list[bytes]) -> list[Entry]:
    """As `parse_json`."""
    return [entry for line in lines if (entry := _cri_entry(line)) is not None]


def _cri_entry(line: bytes) -> Entry | None:
    fields = line.split(b" ", 3)
    if len(fields) < 4:
        return None
    stamp, stream, tags, text = fields
    name = stream.decode("ascii", "replace")
    tag = tags.partition(b":")[0]
    if name not in _STREAMS or tag not in (_WHOLE, _PART) or not stamp[:4].isdigit():
        return None
    return stamp.decode("ascii", "replace"), name, text + b"\n" if tag == _WHOLE else text, {}


FORMATS = {
    "json-file": Format("log.json", encode=encode_json, parse=parse_json),
    "k8s-file": Format("log.k8s", encode=encode_cri, parse=parse_cri),
}
"""By the name of their driver; a driver that is not here keeps nothing that could be read."""
