"""Goals in words and questions to a model, as calls of a plan: nested runs of the same engine."""

from planloop.goals.nested import GOAL, LLM, Engine, Level, equipped

__all__ = ["GOAL", "LLM", "Engine", "Level", "equipped"]
