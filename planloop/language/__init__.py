"""The plan language: source text to a plan, and the pure evaluation of its expressions."""

from planloop.language.grammar import BUILTINS, RESERVED
from planloop.language.parse import parse, parse_native

__all__ = ["BUILTINS", "RESERVED", "parse", "parse_native"]
