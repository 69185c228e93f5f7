"""The staircase of imports: who may import whom, and one door for each heavy library."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINE_CAP = 300

SHARED = {
    "harness.config", "harness.records", "harness.run_folder", "harness.server", "harness.time_series",
    "harness.whole_file",
}  # fmt: skip

# room -> what it may import of ours. A room is the longest prefix that matches a module's name.
ROOMS: dict[str, set[str]] = {
    "launch": {"cli", "harness.run.interruption"},
    "serve": {"cli"},
    "cli": {"conf", "harness", "serving"},
    "conf": {"serving.config", "harness.config"},
    "harness": set(),
    # What several stages share: at harness' root.
    "harness.config": set(),
    "harness.whole_file": set(),
    "harness.time_series": {"harness.whole_file"},
    "harness.records": {"harness.whole_file"},
    "harness.run_folder": {"harness.records", "harness.whole_file"},
    "harness.server": set(),
    "harness.claim": {"harness.whole_file"},
    # The stages.
    "harness.load": SHARED,
    "harness.observe": {*SHARED, "harness.load.protocols"},
    "harness.measure": {*SHARED, "harness.load", "harness.observe"},
    "harness.accuracy": {*SHARED, "harness.load"},
    "harness.charts": set(),
    "harness.pareto": set(),
    "harness.report": {*SHARED, "harness.charts", "harness.accuracy", "harness.measure", "harness.observe"},
    "harness.tracking": SHARED,
    "harness.run": {
        *SHARED, "harness.load", "harness.observe", "harness.measure", "harness.accuracy", "harness.report",
        "harness.tracking",
    },
    "harness.compare": {*SHARED, "harness.measure", "harness.tracking"},
    "harness.sweep": {
        *SHARED, "harness.charts", "harness.claim", "harness.pareto", "harness.report", "harness.tracking",
    },
    "harness.acceptance": {*SHARED, "harness.measure", "harness.observe", "harness.run.environment"},
    "harness.judge": {*SHARED, "harness.load", "harness.measure"},
    "harness.bench": {
        *SHARED, "harness.accuracy", "harness.load", "harness.measure", "harness.observe", "harness.tracking",
    },
    "analysis": {"harness"},
    "serving": set(),
    "serving.config": set(),
    "serving.validate": {"serving.config"},
    "serving.fake": set(),
    "serving.whole_file": set(),
    "serving.processes": {"serving.config", "serving.validate", "serving.whole_file"},
    "serving.link": {"serving.config"},
    "serving.memory": {"serving.config", "serving.link.layout", "serving.weights.served_folder"},
    "serving.tokenizer": {"serving.config", "serving.weights.served_folder"},
    "serving.weights": {
        "serving.config", "serving.memory", "serving.processes", "serving.tokenizer", "serving.whole_file",
    },
    "serving.doctor": {
        "serving.config", "serving.memory", "serving.link.layout", "serving.processes.supervisor", "serving.validate",
    },
    "serving.doctor.__main__": {"cli.doctor"},  # an entry point like launch.py
    "serving.engine": {"serving.link", "serving.config", "serving.fake", "serving.whole_file"},
    "serving.reference": {
        "serving.agent.arithmetic", "serving.config", "serving.link.step", "serving.model", "serving.processes",
        "serving.weights", "serving.whole_file",
    },
    "serving.agent": {"serving.link", "serving.config", "serving.fake", "serving.processes"},
    "serving.frontend": {
        "serving.engine", "serving.tokenizer", "serving.config", "serving.processes", "serving.weights.served_folder",
        "serving.fake",
    },
    "serving.model": {"serving.config", "serving.link.step", "serving.memory", "serving.processes", "serving.weights"},
    "serving.bench": {
        "serving.agent", "serving.config", "serving.engine", "serving.fake", "serving.link", "serving.processes",
    },
}  # fmt: skip

# heavy library -> the only modules (prefixes) that may import it
DOORS = {
    "mindspore": "serving.model",
    "mindformers": "serving.model",
    "mlflow": "harness.tracking",
}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of ours, tests apart."""
    for room in ("cli", "conf", "harness", "serving", "analysis"):
        for path in sorted((ROOT / room).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path
    yield from ((path.stem, path) for path in sorted(ROOT.glob("*.py")))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Absolute names imported anywhere in the file, function bodies and TYPE_CHECKING blocks included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def inside(name: str, room: str) -> bool:
    """Whether a dotted name is the room or lies in it."""
    return name == room or name.startswith(room + ".")


def room_of(name: str) -> str | None:
    """The room a dotted name belongs to, the most specific one."""
    return max((room for room in ROOMS if inside(name, room)), key=len, default=None)


def allowed(importer: str, target: str) -> bool:
    """Whether a module of ours may import the dotted name."""
    room, other = room_of(importer), room_of(target)
    if room is None or other is None or room == other:
        return True
    return any(inside(target, permitted) for permitted in ROOMS[room])


def violations(name: str, path: Path) -> Iterator[str]:
    """One line per forbidden import of a module."""
    for target, line in imports(path):
        if not allowed(name, target):
            yield f"{path.name}:{line}: {name} may not import {target}"
        door = DOORS.get(target.split(".")[0])
        if door and not inside(name, door):
            yield f"{path.name}:{line}: only {door} may import {target}"


def test_every_import_goes_down_the_staircase() -> None:
    assert [line for name, path in modules() for line in violations(name, path)] == []


def test_a_forbidden_import_is_found_wherever_it_hides(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("def f():\n    from harness.run import run\n    import mlflow.client\n")
    assert list(violations("harness.load.planted", planted)) == [
        "planted.py:2: harness.load.planted may not import harness.run.run",
        "planted.py:3: only harness.tracking may import mlflow.client",
    ]


def test_every_module_has_a_rule_of_its_own_room() -> None:
    """The rules of the two packages themselves are for nothing but their `__init__`."""
    packages = {"harness", "serving"}
    assert [name for name, _ in modules() if room_of(name) in {None, *packages} and name not in packages] == []


def test_no_file_outgrows_one_noun() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for _, path in modules()}
    assert {path: size for path, size in sizes.items() if size > LINE_CAP} == {}


@pytest.mark.parametrize(
    ("importer", "target", "expected"),
    [
        ("harness.run.run", "serving.config.ServingConfig", False),
        ("harness.load.loop", "harness.run.run.Run", False),
        ("harness.run.run", "harness.load.generator.LoadRun", True),
        ("serving.engine.loop", "serving.frontend.app", False),
        ("serving.engine.loop", "serving.link.step", True),
        ("serving.model.llama", "serving.link.step.StepBatch", True),
        ("serving.model.llama", "serving.link.frame", False),
        ("cli.stack", "serving.processes.supervisor.Supervisor", True),
        ("serving.processes.supervisor", "cli.stack", False),
    ],
)
def test_the_rule_itself(importer: str, target: str, expected: bool) -> None:
    assert allowed(importer, target) is expected
