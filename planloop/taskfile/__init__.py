"""Task files, the project file and the user's file: read, validated, and asked consent for."""

from __future__ import annotations

from planloop.taskfile.config import Endpoint, Price, UserConfig, load_user
from planloop.taskfile.load import (
    LoadedTask,
    load_task,
    task_from_argument,
    task_from_text,
)
from planloop.taskfile.settings import Settings
from planloop.taskfile.settle import (
    Settled,
    SettledBudget,
    settle_budget,
    settle_model,
    settle_sandbox,
)
from planloop.taskfile.trust import Ask, consent, consent_store

__all__ = [
    "Ask",
    "Endpoint",
    "LoadedTask",
    "Price",
    "Settings",
    "Settled",
    "SettledBudget",
    "UserConfig",
    "consent",
    "consent_store",
    "load_task",
    "load_user",
    "settle_budget",
    "settle_model",
    "settle_sandbox",
    "task_from_argument",
    "task_from_text",
]
