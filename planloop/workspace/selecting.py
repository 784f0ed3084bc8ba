"""Which files of a folder take part in a run, and why the others do not. Pure decisions."""

from __future__ import annotations

import dataclasses
import stat
from collections.abc import Sequence
from typing import NamedTuple

from planloop.task import WorkspaceSpec
from planloop.workspace.folders import Found
from planloop.workspace.globs import Glob, GlobSet, compile_glob

OWN_FOLDER = ".planloop"
GIT_FOLDER = ".git"


class LeftOut(NamedTuple):
    """A path that does not take part. A folder's path ends in `/` and stands for all below."""

    path: str
    why: str


class _Named(NamedTuple):
    why: str
    patterns: str
    """Separated by spaces."""
    but_not: str = ""


_SOURCES = """
*.py *.pyi *.js *.jsx *.ts *.tsx *.mjs *.go *.rs *.java *.kt *.rb *.php *.c *.h *.cc *.cpp *.hpp
*.cs *.swift *.md *.rst *.html
"""

SECRETS = (
    _Named(
        "may hold secrets (an environment file)",
        ".env .env.* .envrc.local",
        ".env.example .env.sample .env.template .env.dist",
    ),
    _Named(
        "may be a private key",
        "*.pem *.key *.p12 *.pfx *.ppk *.jks *.keystore *.kdbx "
        "id_rsa* id_dsa* id_ecdsa* id_ed25519*",
    ),
    _Named(
        "holds logins of a tool",
        ".netrc _netrc .npmrc .pypirc .pgpass .my.cnf .git-credentials .htpasswd .dockercfg "
        ".docker/config.json .vault-token .boto .s3cfg "
        ".ssh/ .aws/ .gnupg/ .kube/ .azure/ .config/gcloud/",
    ),
    _Named(
        "may hold credentials",
        "credentials* .credentials* client_secret*.json service-account*.json "
        "secrets.json secrets.toml secrets.yml secrets.yaml *.tfstate *.tfstate.*",
        _SOURCES,
    ),
)
"""Left out whatever the ignore files say; `include` brings one back by a pattern that names it."""

LITTER = (
    _Named("is made by running Python", "__pycache__/ *.pyc *.pyo"),
    _Named(
        "is a cache of a tool",
        ".pytest_cache/ .mypy_cache/ .ruff_cache/ .hypothesis/ .tox/ .nox/ .cache/ .gradle/ "
        ".ipynb_checkpoints/ .parcel-cache/ .turbo/ .DS_Store Thumbs.db",
    ),
    _Named("holds installed packages", "node_modules/ bower_components/ __pypackages__/"),
    _Named("is version control data", ".hg/ .svn/ .jj/ .bzr/"),
)

_GIT_EXECUTES = _Named(
    "is left out of `.git`: it can make git run programs or look outside",
    "/.git/hooks/ /.git/config /.git/config.worktree /.git/commondir /.git/gitdir "
    "/.git/info/attributes /.git/objects/info/alternates /.git/objects/info/http-alternates "
    "/.git/fsmonitor--daemon* /.git/*.lock /.git/modules/ /.git/worktrees/",
)


@dataclasses.dataclass(frozen=True)
class _Table:
    why: str
    globs: tuple[Glob, ...]
    exceptions: tuple[Glob, ...]

    def names(self, path: str, is_folder: bool) -> bool:
        return any(glob.matches(path, is_folder) for glob in self.globs) and not any(
            glob.matches(path, is_folder) for glob in self.exceptions
        )


class _Tables:
    def __init__(self, *rows: _Named) -> None:
        self._tables = _compiled(rows)
        self._any = GlobSet([glob for table in self._tables for glob in table.globs])

    def reason(self, path: str, is_folder: bool) -> str | None:
        if not self._any.may_match(path):
            return None
        return next((table.why for table in self._tables if table.names(path, is_folder)), None)


def _compiled(rows: Sequence[_Named]) -> tuple[_Table, ...]:
    return tuple(_Table(row.why, _globs(row.patterns), _globs(row.but_not)) for row in rows)


def _globs(patterns: str) -> tuple[Glob, ...]:
    """Patterns with a slash inside match at any depth here, unless they begin with one."""
    return tuple(
        compile_glob(f"**/{p}" if "/" in p[1:-1] and not p.startswith("/") else p)
        for p in patterns.split()
    )


_SECRETS = _Tables(*SECRETS)
_LITTER = _Tables(*LITTER)
_GIT = _Tables(_GIT_EXECUTES)


def secret_reason(path: str, is_folder: bool) -> str | None:
    """Why a path is taken for a secret; None if it is not."""
    return _SECRETS.reason(path.casefold(), is_folder)


def litter_reason(path: str, is_folder: bool) -> str | None:
    """Why a path is something that tools leave behind; None if it is not."""
    return _LITTER.reason(path, is_folder)


def git_reason(path: str, is_folder: bool) -> str | None:
    """Why a path inside `.git` stays behind; None if it may come."""
    return _GIT.reason(path, is_folder)


def special_reason(found: Found) -> str | None:
    """Why an entry is nothing that can be copied; None for files, folders and links."""
    mode = found.status.st_mode
    kinds = (
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISCHR, "a device"),
    )
    return next((f"is {kind}" for test, kind in kinds if test(mode)), None)


class Wanted:
    """What `include` and `exclude` of a task say about paths."""

    def __init__(self, spec: WorkspaceSpec) -> None:
        self._include = tuple(compile_glob(pattern) for pattern in spec.include)
        self._exclude = tuple((pattern, compile_glob(pattern)) for pattern in spec.exclude)

    def excluded(self, path: str, is_folder: bool) -> str | None:
        """Why the task leaves a path out; None if it does not."""
        for pattern, glob in self._exclude:
            if glob.matches(path, is_folder):
                return f"excluded by `{pattern}`"
        return None

    def included(self, path: str, is_folder: bool) -> bool:
        """Whether the task asks for this very path."""
        return any(glob.matches(path, is_folder) for glob in self._include)

    def included_by_name(self, path: str, is_folder: bool) -> bool:
        """Whether the task asks for this path by a pattern whose last name is not only stars."""
        return any(
            glob.matches(path, is_folder)
            for glob in self._include
            if glob.pattern.rstrip("/").rpartition("/")[2].strip("*")
        )

    def leads_into(self, folder: str) -> bool:
        """Whether something is asked for that lies, by name, below a folder left out."""
        return any(glob.may_match_below(folder) for glob in self._include)
