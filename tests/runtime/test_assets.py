"""Assets come whole, from where they were pinned, and are what they were; anything else leaves nothing behind."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from affectrt.bundle import MediaError, MissingDependency, UsageError
from affectrt.cli.main import main
from affectrt.runtime import assets, download
from affectrt.runtime.assets import Asset, Edition, assets_folder, find_asset, installed, keep_asset, pull_asset

CONTENT = bytes(range(256)) * 300
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = hashlib.sha256(b"another edition").hexdigest()


@dataclass
class Served:
    """What the server does next, and what it was asked."""

    url: str = ""
    body: bytes = CONTENT
    status: int = 200
    length: int | None = None
    location: str | None = None
    pause_s: float = 0.0
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Served]:
    """A server on this machine, of the one asset `toy`, and an empty cache."""
    plan = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            plan.asked.append(self.path)
            moved = plan.location is not None and self.path == "/toy"
            self.send_response(302 if moved else plan.status)
            if moved:
                self.send_header("Location", str(plan.location))
            self.send_header(
                "Content-Length", str(0 if moved else len(plan.body) if plan.length is None else plan.length)
            )
            self.end_headers()
            if moved:
                return
            try:
                for at in range(0, len(plan.body), 8192):
                    self.wfile.write(plan.body[at : at + 8192])
                    self.wfile.flush()
                    time.sleep(plan.pause_s)
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    plan.url = f"http://127.0.0.1:{server.server_port}/toy"
    editions = (Edition("new", SHA256, len(CONTENT), plan.url), Edition("old", OTHER, 15))
    monkeypatch.setattr(assets, "ASSETS", {"toy": Asset("toy", "MIT", "does nothing", editions)})
    monkeypatch.setenv("AFFECTRT_CACHE_DIR", str(tmp_path / "cache"))
    yield plan
    server.shutdown()
    server.server_close()
    thread.join()


def left() -> list[str]:
    return [path.name for path in assets_folder().rglob("*") if path.is_file()]


def test_the_pinned_file_is_fetched_once_and_then_found(served: Served) -> None:
    told: list[tuple[int, int]] = []
    path = pull_asset("toy", lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT and path == find_asset("toy") == find_asset("toy", SHA256)
    assert told[-1] == (len(CONTENT), len(CONTENT)) and [d for d, _ in told] == sorted(d for d, _ in told)
    assert pull_asset("toy") == path and served.asked == ["/toy"]


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"body": CONTENT[::-1]}, "with SHA-256"),
        ({"body": CONTENT + b"!"}, "more than the 76800 bytes"),
        ({"body": CONTENT[:-9]}, "broke off after 76791 of 76800"),
        ({"body": CONTENT[:-9], "length": len(CONTENT)}, "broke off after 76791 of 76800"),
        ({"status": 404}, "answers 404"),
        ({"location": "http://example.org/toy"}, "not HTTPS"),
        ({"location": "file:///etc/hostname"}, "not allowed"),
        ({"location": "ftp://127.0.0.1/toy"}, "not HTTPS"),
    ],
)
def test_whatever_else_comes_is_refused_and_leaves_nothing(
    served: Served, plan: dict[str, object], reason: str
) -> None:
    for name, value in plan.items():
        setattr(served, name, value)
    with pytest.raises(MediaError, match=reason):
        pull_asset("toy")
    assert left() == [] and installed("toy") == {}


def test_a_redirect_on_this_machine_is_followed(served: Served) -> None:
    served.location = served.url.replace("/toy", "/elsewhere")
    assert pull_asset("toy").read_bytes() == CONTENT
    assert served.asked == ["/toy", "/elsewhere"]


def test_a_server_that_is_silent_or_slow_is_given_up(served: Served) -> None:
    served.pause_s = 0.4
    with pytest.raises(MediaError, match=r"said nothing for 0\.1 s"):
        download.fetch(served.url, len(CONTENT), silence_s=0.1)
    with pytest.raises(MediaError, match=r"bytes in 0\.3 s"):
        download.fetch(served.url, len(CONTENT), whole_s=0.3)


def test_an_interrupted_download_leaves_nothing(served: Served) -> None:
    def interrupt(done: int, _total: int) -> None:
        if done > 20_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull_asset("toy", interrupt)
    assert left() == []


@pytest.mark.parametrize("url", ["http://example.org/toy", "file:///etc/hostname", "ftp://127.0.0.1/toy"])
def test_only_https_leaves_this_machine(url: str) -> None:
    with pytest.raises(MediaError, match="is not HTTPS"):
        download.fetch(url, 9)


def test_a_server_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(MediaError, match="cannot be reached"):
        download.fetch("http://127.0.0.1:9/toy", 9)


def test_an_asset_that_is_missing_names_the_command_that_brings_it(served: Served) -> None:
    with pytest.raises(MissingDependency, match="toy, which does nothing, is not in") as caught:
        find_asset("toy")
    assert str(caught.value.fix).startswith("affectrt assets pull toy ") and SHA256 in str(caught.value)
    pull_asset("toy")
    with pytest.raises(MissingDependency, match="there is " + SHA256[:12]) as caught:
        find_asset("toy", OTHER)
    assert caught.value.fix == "affectrt assets pull toy --from FILE"
    assert find_asset("toy", OTHER, strictly=False).stem == SHA256


def test_a_file_that_was_changed_is_as_good_as_not_there(served: Served) -> None:
    path = pull_asset("toy")
    path.write_bytes(CONTENT[:-1])
    assert installed("toy") == {}
    with pytest.raises(MissingDependency):
        find_asset("toy")
    assert pull_asset("toy").read_bytes() == CONTENT


def test_a_known_edition_is_taken_from_a_file_and_an_unknown_one_only_when_trusted(
    served: Served, tmp_path: Path
) -> None:
    (tmp_path / "old").write_bytes(b"another edition")
    (tmp_path / "strange").write_bytes(b"who knows")
    assert keep_asset("toy", tmp_path / "old") == find_asset("toy", OTHER)
    with pytest.raises(MediaError) as caught:
        keep_asset("toy", tmp_path / "strange")
    strange = hashlib.sha256(b"who knows").hexdigest()
    assert all(digest in str(caught.value) for digest in (strange, SHA256, OTHER))
    assert list(installed("toy")) == [OTHER]
    keep_asset("toy", tmp_path / "strange", trust=True)
    pull_asset("toy")
    assert list(installed("toy")) == [SHA256, OTHER, strange]
    with pytest.raises(MediaError, match="is missing"):
        keep_asset("toy", tmp_path / "nothing")
    (tmp_path / "link").symlink_to(tmp_path / "old")
    with pytest.raises(MediaError, match="symbolic link"):
        keep_asset("toy", tmp_path / "link")


def test_the_verb_pulls_and_lists(served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assets", "list"]) == 0
    assert capsys.readouterr().out.count("not here") == 2
    assert main(["assets", "pull"]) == 0
    path = capsys.readouterr().out.strip()
    assert Path(path).read_bytes() == CONTENT
    assert main(["assets", "list", "toy"]) == 0
    assert f"new  {SHA256[:12]}  {path}" in capsys.readouterr().out
    (tmp_path / "old").write_bytes(b"another edition")
    assert main(["assets", "pull", "toy", "--from", str(tmp_path / "old")]) == 0


@pytest.mark.parametrize("words", [["push"], ["pull", "cat"], ["list", "--trust"], ["pull", "toy", "--trust"]])
def test_wrong_use_of_the_verb_exits_with_2(
    served: Served, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["assets", *words]) == UsageError.exit_code
    assert "fix:" in capsys.readouterr().err and served.asked == []
