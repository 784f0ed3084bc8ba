"""Models: one file per API dialect, profiles and prices, record and replay."""

from __future__ import annotations

from planloop.models.function import FunctionModel
from planloop.models.intake import Patience
from planloop.models.openai_chat import ContextTooLong, OpenAIChat
from planloop.models.recorder import Recorder
from planloop.models.replay import ReplayModel
from planloop.models.replay_format import Exchange
from planloop.models.resolve import Resolved, resolve_model

__all__ = [
    "ContextTooLong",
    "Exchange",
    "FunctionModel",
    "OpenAIChat",
    "Patience",
    "Recorder",
    "ReplayModel",
    "Resolved",
    "resolve_model",
]
