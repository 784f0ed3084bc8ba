"""What a setup installed, as sandboxes show it: at one place, first on PATH."""

from __future__ import annotations

from planloop.sandbox import ENVIRONMENT, SandboxSpec


def path_variables(spec: SandboxSpec, path: str) -> dict[str, str]:
    """PATH inside, and the variable by which programs know an environment.

    Args:
        path: PATH without a setup.
    """
    if spec.environment is None:
        return {"PATH": path}
    return {"PATH": f"{ENVIRONMENT}/bin:{path}", "VIRTUAL_ENV": ENVIRONMENT}
