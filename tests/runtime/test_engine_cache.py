"""The engine cache believes nothing: what was built for something else, or was changed, never reaches TensorRT."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from affectrt.bundle.errors import EngineError
from affectrt.runtime.engines.engine_cache import CACHE_VARIABLE, EngineCache
from affectrt.runtime.engines.engine_record import BuildOptions, EngineKey, EngineRecord
from affectrt.runtime.engines.gpu import Gpu

ORIN = Gpu(0, "Orin", "8.7", "540.4.0 (CUDA 12.6)", "36.4.3", True, 8 << 30)
GRAPH, OTHER_GRAPH = "ab" * 32, "cd" * 32
TENSORRT = "10.3.0"
PLAN = b"an engine, as far as a cache can tell"
REBUILD = "affectrt build model.affect --backend tensorrt"
MAX_SIDECAR = 1 << 20
# Of `record()` in affectrt 0.1 before engines could have lengths: what lies in people's caches is found again.
KEY_OF_VERSION_ONE = "228f6521dc6e7233111a5961831398788999ef7ad8dbc7326bfb550839118efd"


def record(
    *, gpu: Gpu = ORIN, plan: bytes = PLAN, built_at: str = "2026-11-21T10:00:00Z", **changed: Any
) -> EngineRecord:
    key = {
        "graph_sha256": GRAPH,
        "tensorrt": TENSORRT,
        "gpu": gpu.name,
        "compute_capability": gpu.compute_capability,
        "driver": gpu.driver,
        "l4t": gpu.l4t,
        "batches": (1, 8),
        "options": BuildOptions(),
        **changed,
    }
    return EngineRecord(
        key=EngineKey(**key),
        engine_sha256=hashlib.sha256(plan).hexdigest(),
        size_bytes=len(plan),
        stage="video",
        asked="int8",
        precision="int8",
        built_graph_sha256=key["graph_sha256"],
        layers={"int8": 12, "fp32": 3},
        build_s=41.5,
        built_at=built_at,
    )


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    cache = EngineCache(tmp_path / "engines")
    cache.store(PLAN, record())
    return cache


def find(cache: EngineCache, graph: str = GRAPH, **changed: Any) -> EngineRecord:
    asked = {"tensorrt": TENSORRT, "gpu": ORIN, "rebuild": REBUILD, **changed}
    return cache.find(graph, **asked)


def refused(action: Callable[[], object], *words: str) -> str:
    """What the error says; it must name every word and the command that mends it."""
    with pytest.raises(EngineError) as caught:
        action()
    assert caught.value.fix == REBUILD
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


def test_an_engine_is_found_and_read_where_everything_matches(cache: EngineCache) -> None:
    found = find(cache, batches=[8, 1], options=BuildOptions())
    assert found == record()
    assert cache.read(found, rebuild=REBUILD) == PLAN
    assert find(cache) == found  # batches and options as they are


MISMATCHES: dict[str, tuple[dict[str, Any], tuple[str, str, str]]] = {
    "TensorRT": ({"tensorrt": "11.4.0.106"}, ("TensorRT", "10.3.0", "11.4.0.106")),
    "GPU": ({"gpu": replace(ORIN, name="NVIDIA Thor")}, ("GPU", "Orin", "NVIDIA Thor")),
    "compute capability": ({"gpu": replace(ORIN, compute_capability="11.0")}, ("compute capability", "8.7", "11.0")),
    "driver": ({"gpu": replace(ORIN, driver="580.95 (CUDA 13.0)")}, ("driver", "540.4.0", "580.95 (CUDA 13.0)")),
    "L4T": ({"gpu": replace(ORIN, l4t="39.2.1")}, ("L4T", "36.4.3", "39.2.1")),
    "no L4T": ({"gpu": replace(ORIN, l4t=None)}, ("L4T", "36.4.3", "none")),
    "profile": ({"batches": (1, 4)}, ("batch sizes", "1, 8", "1, 4")),
    "lengths": ({"lengths": (16, 32)}, ("lengths", "none", "16, 32")),
    "options": ({"options": BuildOptions(tf32=True)}, ("options", "tf32 off", "tf32 on")),
    "DLA": ({"options": BuildOptions(dla_core=1)}, ("options", "no DLA", "DLA core 1")),
}


@pytest.mark.parametrize("kind", MISMATCHES)
def test_an_engine_for_something_else_is_refused_with_both_values_and_the_command(
    kind: str, cache: EngineCache
) -> None:
    changed, (name, own, needed) = MISMATCHES[kind]
    told = refused(lambda: find(cache, **changed), f"{name}: the engine has ", own, needed)
    assert told.count("the engine has") == 1  # nothing else differs, so nothing else is told


def test_lengths_are_part_of_the_key_and_keys_without_any_are_those_of_before_there_were_lengths() -> None:
    key, long = record().key, record(lengths=(16, 32)).key
    told = key.model_dump(mode="json")
    assert "lengths" not in told and long.model_dump(mode="json")["lengths"] == [16, 32]
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    assert key.sha256() == hashlib.sha256(text.encode()).hexdigest() == KEY_OF_VERSION_ONE
    assert long.sha256() != key.sha256()
    with pytest.raises(ValueError, match="lengths must ascend"):
        record(lengths=(32, 16))


def test_an_engine_of_another_graph_is_refused_and_both_graphs_are_named(cache: EngineCache) -> None:
    refused(lambda: find(cache, graph=OTHER_GRAPH), f"engines are there for {GRAPH[:12]}, needed is {OTHER_GRAPH[:12]}")


def test_an_empty_cache_says_that_nothing_was_built(tmp_path: Path) -> None:
    refused(lambda: find(EngineCache(tmp_path / "nothing")), "no engine was built for graph abababababab")


def test_everything_that_differs_is_told_at_once_of_the_nearest_engine(cache: EngineCache) -> None:
    cache.store(PLAN, record(tensorrt="9.9", batches=(2,)))
    told = refused(lambda: find(cache, tensorrt="11.4", gpu=replace(ORIN, driver="580")), "10.3.0", "11.4", "580")
    assert "9.9" not in told


def test_the_newest_of_several_matching_engines_is_taken(cache: EngineCache) -> None:
    cache.store(b"newer", record(plan=b"newer", batches=(1,), built_at="2026-11-22T10:00:00Z"))
    cache.store(b"older", record(plan=b"older", batches=(2,), built_at="2026-11-20T10:00:00Z"))
    assert cache.read(find(cache), rebuild=REBUILD) == b"newer"
    assert cache.read(find(cache, batches=(2,)), rebuild=REBUILD) == b"older"


def test_storing_again_replaces_engine_and_record_together(cache: EngineCache) -> None:
    cache.store(b"second", record(plan=b"second"))
    assert cache.read(find(cache), rebuild=REBUILD) == b"second"
    assert sorted(p.suffix for p in (cache.root / GRAPH).iterdir()) == [".json", ".plan"]


def test_what_the_cache_writes_no_other_user_can_read_or_change(cache: EngineCache) -> None:
    for path in (cache.root / GRAPH).iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert (cache.root / GRAPH).stat().st_mode & 0o077 == 0


def test_a_record_of_another_engine_is_not_stored(cache: EngineCache) -> None:
    with pytest.raises(ValueError, match="another engine"):
        cache.store(b"something else", record())


def test_a_cache_that_cannot_be_written_says_where_to_put_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EngineError, match="cannot be kept") as caught:
        EngineCache(tmp_path / "file").store(PLAN, record())
    assert CACHE_VARIABLE in str(caught.value.fix)


def test_a_write_that_fails_leaves_neither_half_a_file_nor_a_record(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("affectrt.runtime.engines.own_files.os.fsync", fail)
    with pytest.raises(EngineError, match="No space left"):
        cache.store(b"second", record(plan=b"second"))
    monkeypatch.undo()
    assert [p.name for p in (cache.root / GRAPH).iterdir()] == [cache.place(record().key).name]
    refused(lambda: find(cache), "no engine was built")


def plan_of(cache: EngineCache) -> Path:
    return cache.place(record().key)


def sidecar_of(cache: EngineCache) -> Path:
    return plan_of(cache).with_suffix(".json")


def with_field(cache: EngineCache, **changed: object) -> None:
    value = json.loads(sidecar_of(cache).read_text())
    sidecar_of(cache).write_text(json.dumps({**value, **changed}))


def with_key_field(cache: EngineCache, **changed: object) -> None:
    value = json.loads(sidecar_of(cache).read_text())
    value["key"].update(changed)
    sidecar_of(cache).write_text(json.dumps(value))


def linked(path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


PLAN_TAMPERINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "one bit": (lambda p: p.write_bytes(bytes([PLAN[0] ^ 1]) + PLAN[1:]), "SHA-256"),
    "shorter": (lambda p: p.write_bytes(PLAN[:-1]), f"{len(PLAN) - 1} bytes"),
    "longer": (lambda p: p.write_bytes(PLAN + b"!"), f"has {len(PLAN) + 1} bytes, more than {len(PLAN)}"),
    "gone": (lambda p: p.unlink(), "is missing"),
    "symbolic link": (linked, "is a symbolic link"),
    "pipe": (lambda p: (p.unlink(), os.mkfifo(p)), "is not a plain file"),
    "writable by the group": (lambda p: p.chmod(0o660), "may be written by others: its mode is 660"),
    "writable by all": (lambda p: p.chmod(0o602), "may be written by others: its mode is 602"),
}


@pytest.mark.parametrize("kind", PLAN_TAMPERINGS)
def test_an_engine_that_was_tampered_with_is_refused(kind: str, cache: EngineCache) -> None:
    tamper, reason = PLAN_TAMPERINGS[kind]
    found = find(cache)
    tamper(plan_of(cache))
    refused(lambda: cache.read(found, rebuild=REBUILD), "an engine is refused", str(plan_of(cache)), reason)


SIDECAR_TAMPERINGS: dict[str, tuple[Callable[[EngineCache], object], str]] = {
    "truncated": (lambda c: sidecar_of(c).write_bytes(sidecar_of(c).read_bytes()[:-20]), "it is not JSON"),
    "empty": (lambda c: sidecar_of(c).write_bytes(b""), "it is not JSON"),
    "oversized": (lambda c: sidecar_of(c).write_bytes(b" " * (MAX_SIDECAR + 1)), f"more than {MAX_SIDECAR}"),
    "not UTF-8": (lambda c: sidecar_of(c).write_bytes(b"\xff{}"), "it is not UTF-8"),
    "deep": (lambda c: sidecar_of(c).write_bytes(b"[" * 5000 + b"]" * 5000), "it nests deeper"),
    "another format": (lambda c: with_field(c, format="affect-bundle"), "its format is 'affect-bundle'"),
    "another version": (lambda c: with_field(c, format_version=2), "its format version is 2"),
    "unknown field": (lambda c: with_field(c, run="rm"), "run: is not a field of this format"),
    "unknown field in the key": (lambda c: with_key_field(c, x=1), "key.x: is not a field of this format"),
    "negative size": (lambda c: with_field(c, size_bytes=-1), "size_bytes: must be at least 1"),
    "silent fallback": (lambda c: with_field(c, precision="fp32"), "without a reason in fallbacks"),
    "key changed": (lambda c: with_key_field(c, tensorrt="11.4.0.106"), "its key was changed"),
    "symbolic link": (lambda c: linked(sidecar_of(c)), "is a symbolic link"),
    "writable by others": (lambda c: sidecar_of(c).chmod(0o666), "may be written by others: its mode is 666"),
}


@pytest.mark.parametrize("kind", SIDECAR_TAMPERINGS)
def test_a_record_that_was_tampered_with_is_refused(kind: str, cache: EngineCache) -> None:
    tamper, reason = SIDECAR_TAMPERINGS[kind]
    found = find(cache)
    tamper(cache)
    told = refused(lambda: find(cache), "no engine in", "can be trusted", reason)
    assert str(sidecar_of(cache)) in told
    refused(lambda: cache.read(found, rebuild=REBUILD), reason)


def test_an_engine_moved_to_the_folder_of_another_graph_is_refused(cache: EngineCache) -> None:
    (cache.root / GRAPH).rename(cache.root / OTHER_GRAPH)
    told = "graph: it tells of abababababab, its folder of cdcdcdcdcdcd"
    refused(lambda: find(cache, graph=OTHER_GRAPH), told)


def test_a_sidecar_renamed_for_another_key_is_refused(cache: EngineCache) -> None:
    sidecar_of(cache).rename(sidecar_of(cache).with_name(f"{'0' * 16}.json"))
    refused(lambda: find(cache), "its key was changed")


def test_a_record_whose_hash_follows_the_tampered_engine_is_still_another_than_was_found(cache: EngineCache) -> None:
    found = find(cache)
    plan_of(cache).write_bytes(b"evil")
    with_field(cache, engine_sha256=hashlib.sha256(b"evil").hexdigest(), size_bytes=4)
    refused(lambda: cache.read(found, rebuild=REBUILD), "changed since it was looked at")


def test_a_folder_that_is_a_symbolic_link_is_refused(cache: EngineCache) -> None:
    linked(cache.root / GRAPH)
    refused(lambda: find(cache), "which is a symbolic link")


@pytest.mark.parametrize("which", [plan_of, sidecar_of])
def test_files_of_another_user_are_refused(
    which: Callable[[EngineCache], Path], cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find(cache)
    if os.geteuid() == 0:
        os.chown(which(cache), 12345, 12345)
    else:
        monkeypatch.setattr("os.geteuid", lambda: 12345)
    refused(lambda: cache.read(found, rebuild=REBUILD), "belongs to user")


def test_a_damaged_neighbour_does_not_hide_a_good_engine(cache: EngineCache) -> None:
    (cache.root / GRAPH / f"{'1' * 16}.json").write_bytes(b"{}")
    assert find(cache) == record()
    refused(lambda: find(cache, tensorrt="11.4"), "11.4", f"{'1' * 16}.json")


def test_a_text_that_is_no_hash_never_becomes_a_path(cache: EngineCache) -> None:
    with pytest.raises(ValueError, match="no SHA-256"):
        find(cache, graph="../../etc")


def test_the_cache_never_imports_tensorrt(tmp_path: Path) -> None:
    """Nothing can be deserialised by what does not load the library that does it."""
    program = (
        "import sys; from pathlib import Path; from affectrt.runtime.engines.engine_cache import EngineCache;"
        f"list(EngineCache(Path({str(tmp_path)!r}))._records('ab' * 32));"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('tensorrt', 'pycuda', 'cuda', 'polygraphy')];"
        "sys.exit(f'loaded {bad}' if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({CACHE_VARIABLE: "/srv/affect", "XDG_CACHE_HOME": "/var/x"}, "/srv/affect/engines"),
        ({"XDG_CACHE_HOME": "/var/x"}, "/var/x/affectrt/engines"),
        ({"HOME": "/she"}, "/she/.cache/affectrt/engines"),
    ],
)
def test_the_cache_lies_where_the_environment_says(
    variables: dict[str, str], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (CACHE_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(EngineCache().root) == place
