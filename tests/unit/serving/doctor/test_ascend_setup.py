"""What docs/ascend_setup.md and the lock for Ascend say is what the doctor checks and the Makefile does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from serving.doctor import versions
from serving.doctor.probe_python import LOCK, locked

ROOT = Path(__file__).parents[4]
GUIDE = (ROOT / "docs" / "ascend_setup.md").read_text()


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_guide_has_the_doctor_s_matrix() -> None:
    for mindformers, (mindspore, cann, hdk) in versions.MINDFORMERS.items():
        assert all(version in GUIDE for version in (mindformers, mindspore, cann, hdk))
    for release in (*versions.CANN_ACCEPTED, *versions.HDK_OF_CANN_9_0):
        assert release in GUIDE
    assert all(name in GUIDE for name in versions.CANN_PACKAGES)


def test_the_pinned_packages_are_a_row_of_the_matrix() -> None:
    pins = dict(locked(LOCK.read_text()))
    assert versions.MINDFORMERS[pins["mindformers"]][0] == pins["mindspore"]


def test_every_source_that_is_cited_is_listed_and_the_other_way_round() -> None:
    body, _, sources = GUIDE.partition("## Sources")
    listed = dict(re.findall(r"^(\d+)\. <(https://\S+)>$", sources, re.MULTILINE))
    assert set(re.findall(r"\[(\d+)\]", body)) == set(listed)
    assert len(set(listed.values())) == len(listed)


def test_the_lock_for_ascend_has_what_cann_wants_and_contradicts_nothing() -> None:
    pins, ascend = dict(locked(LOCK.read_text())), dict(locked((ROOT / "requirements-ascend.lock").read_text()))
    assert set(versions.CANN_PACKAGES) <= ascend.keys()
    assert {name: pins[name] for name in ascend.keys() & pins.keys()} == {
        name: ascend[name] for name in ascend.keys() & pins.keys()
    }


def test_only_device_ascend_installs_more() -> None:
    assert "ascend" not in make("setup").stdout
    assert "ascend" not in make("setup", "DEVICE=cpu").stdout
    assert "requirements-ascend.lock" in make("setup", "DEVICE=ascend").stdout
    wrong = make("setup", "DEVICE=npu")
    assert wrong.returncode == 2 and "DEVICE=npu: must be cpu or ascend" in wrong.stderr
