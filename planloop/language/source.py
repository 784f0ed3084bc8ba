"""Source text to a syntax tree, whatever the text is, in bounded time and memory."""

from __future__ import annotations

import ast
import re
import warnings

from planloop.errors import PlanInvalid
from planloop.language.limits import MAX_NESTING, MAX_SOURCE_BYTES
from planloop.values import MAX_BITS


def read_source(source: str) -> ast.Module:
    """The syntax tree of a plan's source.

    Raises:
        PlanInvalid: it is no Python, too long or too deeply nested.
    """
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > MAX_SOURCE_BYTES:
        raise PlanInvalid(
            f"the plan has {size:,} bytes; at most {MAX_SOURCE_BYTES:,} are read: send less at once"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except SyntaxError as error:
        raise _invalid(error) from None
    except (RecursionError, MemoryError):
        raise PlanInvalid("the plan is nested too deeply; write it in shorter lines") from None
    except (ValueError, UnicodeError) as error:
        raise PlanInvalid(f"the plan cannot be read: {error}") from None
    refuse_deep(tree)
    return tree


def check_compiles(tree: ast.Module) -> None:
    """Raise `PlanInvalid` for what only the compiler sees, such as `return` outside a function."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(tree, "<plan>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError as error:
        raise _invalid(error) from None
    except (RecursionError, MemoryError, ValueError):
        raise PlanInvalid("the plan is nested too deeply; write it in shorter lines") from None


def refuse_deep(tree: ast.AST) -> None:
    """Raise `PlanInvalid` for an expression too deep, or an integer too long, to be read."""
    pending: list[tuple[ast.AST, int, int, int]] = [(tree, 0, 1, 0)]
    while pending:
        node, depth, line, column = pending.pop()
        line, column = getattr(node, "lineno", line), getattr(node, "col_offset", column)
        if isinstance(node, ast.Constant):
            _refuse_long(node)
        if depth > MAX_NESTING:
            raise PlanInvalid(
                f"nested more than {MAX_NESTING} levels deep; use names for parts of it",
                line=line,
                column=column + 1,
            )
        pending += [(child, depth + 1, line, column) for child in ast.iter_child_nodes(node)]


def _refuse_long(node: ast.Constant) -> None:
    if isinstance(node.value, int) and node.value.bit_length() > MAX_BITS:
        raise PlanInvalid(
            f"an integer may have {MAX_BITS:,} bits", line=node.lineno, column=node.col_offset + 1
        )


def _invalid(error: SyntaxError) -> PlanInvalid:
    message = f"no valid Python: {error.msg}"
    if error.msg and error.msg.startswith("f-string"):
        message += "; inside the braces of an f-string use other quotes than around it"
    if error.msg and "outside function" in error.msg and "'return'" in error.msg:
        message += "; a plan ends with done(…)"
    return PlanInvalid(message, line=error.lineno or 1, column=max(error.offset or 1, 1))


def source_lines(source: str) -> list[str]:
    """The lines of a source, as Python counts them."""
    return re.split(r"\r\n|\r|\n", source)


def segment(lines: list[str], node: ast.stmt) -> str:
    """The source of a statement."""
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    found = lines[first : last + 1]
    found[-1] = _until(found[-1], node.end_col_offset)
    found[0] = found[0][len(_until(found[0], node.col_offset)) :]
    return "\n".join(found)


def _until(line: str, offset: int | None) -> str:
    return line.encode("utf-8", "surrogatepass")[:offset].decode("utf-8", "replace")


def column_of(source_line: str, offset: int) -> int:
    """The column, counted in characters from 1, of an offset in UTF-8 bytes."""
    return len(_until(source_line, offset)) + 1
