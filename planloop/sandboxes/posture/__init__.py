"""What a sandbox holds, tried for real: a row for each limit, and how it was seen."""

from planloop.sandboxes.posture.judging import Row
from planloop.sandboxes.posture.trials import PROBE_LIMITS, refuse_untriable, try_all

__all__ = ["PROBE_LIMITS", "Row", "refuse_untriable", "try_all"]
