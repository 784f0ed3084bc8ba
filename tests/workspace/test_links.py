from __future__ import annotations

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from planloop.workspace.folders import link_stays_inside

from .trees import patient

STEPS = st.sampled_from(["a", "b", "l", "m", "..", ".", "", "n"])
TARGETS = st.lists(STEPS, min_size=1, max_size=5).map("/".join).filter(bool)
PLACES = ["l", "a/m", "a/b/n", "b/l", "m"]


def leads_in_circles(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def real(path: Path) -> Path:
    return Path(os.path.realpath(path))


@patient
@given(st.dictionaries(st.sampled_from(PLACES), TARGETS, max_size=5))
def test_links_that_may_stay_never_lead_out_whatever_others_there_are(
    links: dict[str, str],
) -> None:
    with TemporaryDirectory() as base:
        root = Path(os.path.realpath(base), "root")
        (root / "a" / "b").mkdir(parents=True)
        (root / "b").mkdir()
        kept = {path: target for path, target in links.items() if link_stays_inside(path, target)}
        for path, target in kept.items():
            (root / path).symlink_to(target)
        for path in kept:
            # For a link that only leads to itself, realpath guesses; the kernel goes nowhere.
            assert leads_in_circles(root / path) or real(root / path).is_relative_to(root)


def test_links_that_leave_are_seen_by_their_text() -> None:
    assert link_stays_inside("a/b/c", "../../d")
    assert link_stays_inside("l", ".")
    for path, target in [
        ("l", "/a"),
        ("l", ".."),
        ("a/l", "../../x"),
        ("a/l", "b/../../../x"),
        ("l", ""),
    ]:
        assert not link_stays_inside(path, target)
