"""The plan language: source text to a plan, and the pure evaluation of its expressions."""

from planloop.language.grammar import BUILTINS, RESERVED
from planloop.language.parse import parse, parse_native
from planloop.language.programs import as_program

__all__ = ["BUILTINS", "RESERVED", "as_program", "parse", "parse_native"]
