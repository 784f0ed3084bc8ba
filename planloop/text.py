"""Text from a sandbox, a model or a tool, made harmless before anyone sees it."""

from __future__ import annotations

import inspect
import re
import typing
from typing import Any

# C0 except tab and newline, DEL, C1, bidirectional controls, invisible format characters and
# fillers, line and paragraph separators, byte order marks, surrogates, tags and the variation
# selectors that can carry hidden text (not those that make an emoji coloured).
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def sanitise(text: str) -> str:
    """`text` with every control and invisible character shown as an escape, never obeyed.

    Newlines and tabs stay. A carriage return before a newline is dropped.
    """
    return _UNSAFE.sub(_escaped, text.replace("\r\n", "\n"))


def one_line(text: str, width: int = 80) -> str:
    """`text` sanitised on one line of at most `width` characters."""
    flat = " ".join(sanitise(text[: width * 8]).split())
    if len(flat) <= width and not text[width * 8 :].strip():
        return flat
    return flat[: max(0, width - 1)] + "…"


def _escaped(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x20:
        return chr(0x2400 + code)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def bounded_repr(value: Any, width: int = 200) -> str:
    """A value as a plan would write it, on at most `width` characters."""
    if isinstance(value, str | bytes) and len(value) > width:
        text = repr(value[:width])
    elif isinstance(value, dict) and len(value) > 50:
        text = repr({key: value[key] for key in list(value)[:50]})
    elif isinstance(value, list) and len(value) > 50:
        text = repr(value[:50])
    else:
        text = repr(value)
    return text if len(text) <= width else text[: width - 1] + "…"


def signature_text(signature: inspect.Signature) -> str:
    """A signature as source, its annotations short: `(path: str, limit: int = 10) -> list[str]`."""
    parts, keyword_only = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            parts.append("*")
            keyword_only = True
        text = parameter.name
        if parameter.annotation not in (inspect.Parameter.empty, Any):
            text += f": {type_text(parameter.annotation)}"
        if parameter.default is not inspect.Parameter.empty:
            gap = " = " if ":" in text else "="
            text += f"{gap}{bounded_repr(parameter.default, 60)}"
        parts.append(text)
    returns = signature.return_annotation
    tail = "" if returns is inspect.Signature.empty else f" -> {type_text(returns)}"
    return f"({', '.join(parts)}){tail}"


def type_text(hint: Any) -> str:
    """A type as a person would write it; models and dataclasses show their fields."""
    if hint is None or hint is type(None):
        return "None"
    if isinstance(hint, type) and not typing.get_args(hint):
        return _fields_text(hint) or hint.__name__
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return type_text(inner[0])
    if origin is typing.Literal:
        return f"Literal[{', '.join(repr(one) for one in inner)}]"
    if origin is typing.Union or type(hint).__name__ == "UnionType":
        return " | ".join(type_text(one) for one in inner)
    if origin is not None and inner:
        name = getattr(origin, "__name__", str(origin))
        return f"{name}[{', '.join('...' if i is Ellipsis else type_text(i) for i in inner)}]"
    return str(hint).replace("typing.", "")


def _fields_text(hint: type[Any]) -> str:
    fields = getattr(hint, "model_fields", None) or getattr(hint, "__dataclass_fields__", None)
    if not isinstance(fields, dict):
        return ""
    try:
        hints = typing.get_type_hints(hint)
    except NameError:
        return ""
    shown = ", ".join(f"{name}: {type_text(hints.get(name, Any))}" for name in fields)
    return f"{hint.__name__}({shown})"
