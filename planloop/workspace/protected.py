"""Paths that are never written in a user's folder, and files that run by themselves."""

from __future__ import annotations

from planloop.workspace.globs import compile_glob

_NEVER = frozenset({".git", ".planloop", "git~1", "planlo~1"})
_IGNORED_BY_MACOS = dict.fromkeys(
    [0x200C, 0x200D, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF]
)
MAX_PATH_BYTES = 4_000

_RUNS_BY_ITSELF = (
    (".envrc", "runs when a shell enters the folder (direnv)"),
    (".mise.toml", "runs when a shell enters the folder (mise)"),
    ("mise.toml", "runs when a shell enters the folder (mise)"),
    (".autoenv", "runs when a shell enters the folder (autoenv)"),
    (".github/workflows/**", "runs on GitHub's machines at a push"),
    (".github/actions/**", "runs on GitHub's machines at a push"),
    (".gitlab-ci.yml", "runs on GitLab's machines at a push"),
    (".gitlab-ci.yaml", "runs on GitLab's machines at a push"),
    (".circleci/**", "runs on a CI service at a push"),
    (".travis.yml", "runs on a CI service at a push"),
    (".buildkite/**", "runs on a CI service at a push"),
    (".woodpecker/**", "runs on a CI service at a push"),
    (".drone.yml", "runs on a CI service at a push"),
    ("azure-pipelines.yml", "runs on a CI service at a push"),
    ("bitbucket-pipelines.yml", "runs on a CI service at a push"),
    ("jenkinsfile", "runs on a CI service at a push"),
    (".husky/**", "is a git hook"),
    (".githooks/**", "is a git hook"),
    (".pre-commit-config.yaml", "names programs that run at a commit"),
    ("lefthook.yml", "names programs that run at a commit"),
    (".gitattributes", "can make git run filters"),
    (".gitmodules", "can make git fetch from elsewhere"),
    (".vscode/tasks.json", "can run when an editor opens the folder"),
    (".vscode/settings.json", "can make an editor run programs"),
    (".vscode/launch.json", "names programs that an editor runs"),
    (".idea/**", "can make an editor run programs"),
    (".vim/**", "can run when an editor opens the folder"),
    (".nvim.lua", "can run when an editor opens the folder"),
    (".exrc", "can run when an editor opens the folder"),
    (".dir-locals.el", "can run when an editor opens the folder"),
    (".devcontainer/**", "can run when an editor opens the folder"),
    ("*.code-workspace", "can make an editor run programs"),
    ("sitecustomize.py", "runs whenever Python starts here"),
    ("usercustomize.py", "runs whenever Python starts here"),
    ("*.pth", "runs whenever Python starts, where it is installed"),
    (".pdbrc", "runs whenever Python's debugger starts here"),
    (".gdbinit", "runs whenever the debugger starts here"),
    (".lldbinit", "runs whenever the debugger starts here"),
    (".npmrc", "can make npm run other programs"),
    (".yarnrc.yml", "can make yarn run other programs"),
    (".cargo/**", "can make cargo run other programs"),
)
"""Files that run without anybody naming them. Tests, `conftest.py`, `Makefile` and `package.json`
are not among them: they run when somebody asks for tests or a build, as the code itself does."""

_TABLE = tuple(
    (compile_glob(f"**/{pattern}" if "/" in pattern else pattern), why)
    for pattern, why in _RUNS_BY_ITSELF
)


def runs_by_itself(path: str) -> str | None:
    """Why a file at this path runs without anybody naming it; None if it does not."""
    folded = path.casefold()
    return next((why for glob, why in _TABLE if glob.matches(folded, False)), None)


def is_protected(path: str) -> bool:
    """Whether any component of a path is `.git` or `.planloop`, however a file system spells it.

    Case, trailing dots and spaces, stream names and characters that some file systems drop do
    not hide the name.
    """
    return any(_plain(name) in _NEVER for name in path.replace("\\", "/").split("/"))


def _plain(name: str) -> str:
    return name.translate(_IGNORED_BY_MACOS).casefold().partition(":")[0].rstrip(" .")


def is_sound(path: str) -> bool:
    """Whether a path is relative, normal, and stays inside the folder."""
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        return False
    steps = path.split("/")
    return length <= MAX_PATH_BYTES and "\0" not in path and not {"", ".", ".."} & set(steps)
