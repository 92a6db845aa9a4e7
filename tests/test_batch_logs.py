"""Log lines, metrics and what must never stand in them."""

from __future__ import annotations

import io
import json
import logging
import math
import os
import re
import stat
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PublishError
from workflows.batch.logs import OURS, about, forward_log, open_log
from workflows.batch.metrics import write_metrics
from workflows.batch.outcome import Check, RunSummary, SceneOutcome
from workflows.batch.redact import redact, redact_json

AROUND = st.lists(
    st.sampled_from([
        "scene", "tile 7", "https://host/a.tif", "key=3", "(404)", '"', "'", "{", "}", ";", ",",
        "?", "=", ":", "//", "@", "/", " ", "\n", "--", "-j", "#", ".",
    ]),
    max_size=8,
).map("".join)  # fmt: skip
"""What a secret may stand among."""
logger = logging.getLogger("workflows.batch.tests")

SECRETS = {
    "https://ann:hunter2hunter2@host.example/data": "hunter2hunter2",
    "cannot read https://ann:p%40ss@host/a.tif (404)": "p%40ss",
    "s3 https://bucket.example/key?X-Amz-Signature=abc123&X-Amz-Date=1": "abc123",
    "/vsicurl?url=https%3A%2F%2Fhost%2Fa.tif&header=abc123": "abc123",
    "/vsicurl/https://host/a.tif?sv=2024&sig=Zm9v%3D: gone": "Zm9v",
    "item.json?token=qwertz: not found": "qwertz",
    "https://host/callback#access_token=qwertz": "qwertz",
    "POST https://hooks.slack.com/services/T0/B0/qwertz failed": "qwertz",
    "POST https://discord.com/api/webhooks/12/qwertz failed": "qwertz",
    "Authorization: Bearer qwertz-asdfgh": "qwertz",
    "{'Authorization': 'Basic cXdlcnR6OmFzZGY='}": "cXdlcnR6",
    "Cookie: a=1; session=qwertz": "qwertz",
    "password = qwertz": "qwertz",
    'options {"password": "qw er tz", "user": "ann"}': "er tz",
    "AWS_SECRET_ACCESS_KEY=qwertz": "qwertz",
    "token=''qwertz": "qwertz",
    "password='qwertz": "qwertz",
    "x-api-key: qwertz": "qwertz",
    "account_key=qwertz;endpoint=core": "qwertz",
    "curl --oauth-token qwertz https://host/": "qwertz",
    "tls://:qwertz@scheduler:8786": "qwertz",
    "key AKIAIOSFODNN7EXAMPLE refused": "AKIAIOSFODNN7EXAMPLE",
    "got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.qwertz": "qwertz",
    "ghp_0123456789abcdefghij is revoked": "0123456789",
}
"""Lines and what of them must not be shown."""
HARMLESS = (
    "S2B_MSIL1C_20260714T101559_R065_T32TQM.SAFE: B04.jp2 is 1098 px wide, the XML says 10980",
    "/data/inbox/LC08_L2SP_193029/x.tif: changed while it was being read; run the job again",
    "no Dask scheduler answers at tcp://127.0.0.1:8786 within 60 s (timed out)",
    "3 of 12 scenes failed: see https://host.example/reports/20261126T020000Z-3f2a.html",
    "is it done? yes: 12.5 Mpx/s, key 3f2a91c07be4, marker a@b.done, email ops@example.org",
)
"""Lines that stay as they are."""


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def entries(stream: io.StringIO) -> list[dict[str, object]]:
    """Every line, each of which must be a JSON object."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(("line", "secret"), SECRETS.items())
def test_a_secret_is_taken_out_of_every_kind_of_line(
    line: str, secret: str, stream: io.StringIO
) -> None:
    for json_lines in (True, False):
        with open_log(json_lines=json_lines, stream=stream):
            logger.warning("%s", line)
            logger.info("facts", extra={"facts": {"said": [line]}})
            try:
                raise OSError(line)
            except OSError:
                logger.exception("failed")
    assert secret not in stream.getvalue()
    assert stream.getvalue().count("***") >= 5


@pytest.mark.parametrize("line", HARMLESS)
def test_what_is_no_secret_stays(line: str) -> None:
    assert redact(line) == line


def test_what_is_not_secret_of_a_line_stays() -> None:
    line = "cannot read https://ann:hunter2@host.example/a/b.tif?sig=x (404), password=y, tile 7"
    assert redact(line) == (
        "cannot read https://***@host.example/a/b.tif?*** (404), password=***, tile 7"
    )


def test_a_secret_of_the_environment_is_hidden_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CDSE_TOKEN", "correct horse")
    monkeypatch.setenv("SOME_PASSWORD", "scene")  # too short to be told from a word
    assert redact("login with correct horse for the scene") == "login with *** for the scene"


def test_paths_of_the_environment_are_no_secrets() -> None:
    assert redact(os.getcwd()) == os.getcwd()


def test_facts_with_a_secret_name_are_hidden_whole() -> None:
    facts = {"api_key": ["a", "b"], "tiles": 3, "nested": {"token": "x", "scene": "s"}, "sig": None}
    assert redact_json(facts) == {
        "api_key": "***", "tiles": 3, "nested": {"token": "***", "scene": "s"}, "sig": None,
    }  # fmt: skip


@given(AROUND, st.sampled_from(sorted(SECRETS)), AROUND)
def test_what_stands_around_a_secret_does_not_protect_it(
    before: str, line: str, after: str
) -> None:
    assert SECRETS[line] not in redact(f"{before} {line} {after}")


def test_long_lines_are_redacted_in_linear_time() -> None:
    for unit in ("a_", "token", "://", "?a=", "eyJ", "--a-", "Bearer ", 'password":"'):
        redact(unit * 30_000)  # the suite's time limit says if this is quadratic


def test_a_json_line_says_when_how_grave_where_what_and_about_which_scene(
    stream: io.StringIO,
) -> None:
    with open_log(json_lines=True, stream=stream), about("3f2a91c07be4d5e6f7"):
        logger.info("landed in %.1f s", 2.0, extra={"facts": {"tiles": 144, "share": math.nan}})
    (entry,) = entries(stream)
    moment = datetime.fromisoformat(str(entry.pop("ts")))
    assert abs(moment.timestamp() - datetime.now().timestamp()) < 60
    assert entry == {
        "level": "info",
        "logger": "workflows.batch.tests",
        "event": "landed in 2.0 s",
        "scene": "3f2a91c07be4",
        "tiles": 144,
        "share": "nan",
    }


def test_facts_cannot_stand_for_the_line_itself(stream: io.StringIO) -> None:
    with open_log(json_lines=True, stream=stream):
        logger.info("so", extra={"facts": {"event": "not so", "level": "none"}})
    (entry,) = entries(stream)
    assert (entry["event"], entry["level"]) == ("so", "info")


def test_scenes_of_other_threads_do_not_mix(stream: io.StringIO) -> None:
    def work(key: str) -> None:
        with about(key):
            meet.wait(10)
            logger.info(key)

    meet = threading.Barrier(2)
    with open_log(json_lines=True, stream=stream):
        threads = [threading.Thread(target=work, args=(key * 12,)) for key in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        logger.info("none")
    found = entries(stream)
    assert all(e.get("scene", "none") == e["event"] for e in found)
    assert len(found) == 3


def test_a_hostile_name_is_one_line_and_no_escape_sequence(stream: io.StringIO) -> None:
    name = os.fsdecode(b'a\n{"level": "forged"}\r\x1b[2J[bold]\xff\xe2\x80\xa8.tif')
    with open_log(json_lines=True, stream=stream):
        logger.info("%s", name)
    assert stream.getvalue().count("\n") == 1
    (entry,) = entries(stream)
    assert "forged" in str(entry["event"])
    stream.getvalue().encode("utf-8")
    people = io.StringIO()
    with open_log(stream=people):
        logger.info("%s", name)
    assert people.getvalue().count("\n") == 1
    assert "\x1b" not in people.getvalue()
    assert "[bold]" in people.getvalue()


def test_a_line_for_people_has_the_time_the_gravity_and_the_scene(stream: io.StringIO) -> None:
    with open_log(stream=stream), about("3f2a91c07be4d5"):
        logger.warning("a" * 300)
    line = stream.getvalue()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ warning 3f2a91c07be4 a{300}\n", line)


def test_dask_and_strangers_are_quiet_unless_asked(stream: io.StringIO) -> None:
    names = ("distributed.worker", "asyncio", "tornado.access", "urllib3.connectionpool")
    with open_log(json_lines=True, stream=stream):
        for name in names:
            logging.getLogger(name).setLevel(logging.NOTSET)
            logging.getLogger(name).info("chatter")
        logging.getLogger("asyncio").error("a worker went away")
        logging.getLogger("rasterio._env").warning("a real warning")
        logging.getLogger("pipeline.run").debug("a tile")
    assert [entry["event"] for entry in entries(stream)] == ["a real warning"]
    with open_log(json_lines=True, debug=True, stream=stream):
        logging.getLogger("asyncio").error("a worker went away")
        logging.getLogger("pipeline.run").debug("a tile")
    assert [entry["event"] for entry in entries(stream)][1:] == ["a worker went away", "a tile"]


def test_lines_can_be_handed_to_another_log(stream: io.StringIO) -> None:
    told: list[tuple[int, str]] = []
    before = [(logging.getLogger(name).level, logging.getLogger(name).handlers) for name in OURS]
    with open_log(json_lines=True, stream=stream):
        with forward_log(lambda level, line: told.append((level, line))), about("3f2a91c07be4d5"):
            logger.info("read\n%s", "https://ann:qwertz@host/a.tif")
            logger.debug("a tile")
            logging.getLogger("urllib3").warning("not ours")
        logger.warning("after")
    assert told == [(logging.INFO, "3f2a91c07be4 read https://***@host/a.tif")]
    assert [entry["event"] for entry in entries(stream)] == ["not ours", "after"]
    assert before == [
        (logging.getLogger(name).level, logging.getLogger(name).handlers) for name in OURS
    ]


def test_logging_is_as_before_afterwards(stream: io.StringIO) -> None:
    root = logging.getLogger()
    plain = logging.StreamHandler(io.StringIO())
    root.addHandler(plain)
    try:
        before = (root.level, list(root.handlers))
        with open_log(json_lines=True, stream=stream):
            logger.info("once")
        assert (root.level, root.handlers) == before
        assert plain.stream.getvalue() == ""
    finally:
        root.removeHandler(plain)
    logger.warning("no more")
    assert [entry["event"] for entry in entries(stream)] == ["once"]


# ------------------------------------------------------------------------------------- metrics

HEADER = re.compile(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)")
SAMPLE = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{((?:[a-zA-Z_][a-zA-Z0-9_]*=\"(?:[^\"\\\n]|\\[\\\"n])*\",?)*)\} "
    r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
)
LABEL = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)=\"((?:[^\"\\\n]|\\[\\\"n])*)\"(?:,|$)")
UNESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read_metrics(path: Path) -> Samples:
    """The samples of a text file, strictly: HELP and TYPE first, groups whole, nothing twice."""
    data = path.read_bytes().decode("utf-8", "strict")
    assert data.endswith("\n")
    found: Samples = {}
    current, seen, headers = "", set(), []
    for line in data[:-1].split("\n"):
        if header := HEADER.fullmatch(line):
            kind, name, text = header.groups()
            if kind == "HELP":
                assert name not in seen
                headers = ["HELP"]
            else:
                assert headers == ["HELP"]
                assert name == current or name not in seen
                assert text == "gauge"
                headers = ["HELP", "TYPE"]
            current = name
            seen.add(name)
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        name, labels, value = sample.groups()
        assert name == current
        assert headers == ["HELP", "TYPE"]
        pairs = [
            (key, re.sub(r"\\.", lambda m: UNESCAPED[m[0]], text))
            for key, text in LABEL.findall(labels)
        ]
        assert len({key for key, _ in pairs}) == len(pairs)
        identity = (name, frozenset(pairs))
        assert identity not in found
        found[identity] = float(value)
    return found


def value(samples: Samples, name: str, **labels: str) -> float | None:
    """The sample of a name and its labels beside the inbox's."""
    for (other, pairs), number in samples.items():
        if other == name and {k: v for k, v in pairs if k != "inbox"} == labels:
            return number
    return None


def summary(*scenes: SceneOutcome, ended: str = "2026-11-26T03:30:00+00:00") -> RunSummary:
    return RunSummary(
        run="20261126T020000Z-3f2a",
        started="2026-11-26T02:00:00+00:00",
        ended=ended,
        seconds=5400.25,
        inbox="/data/in",
        outbox="/data/out",
        scenes=scenes,
    )


DONE = SceneOutcome("S2A", "a.SAFE", "done", tiles=144, megapixels=43.2, bytes=10**12)
FAILED = SceneOutcome(
    "S2B", "b.SAFE", "failed", reason="incomplete", checks=(Check("bias", False, 1.0, 0.1),)
)  # fmt: skip


def test_metrics_say_what_became_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "espcn.prom"
    write_metrics(path, summary(DONE, replace(DONE, scene="S2C"), FAILED))
    found = read_metrics(path)
    assert value(found, "espcn_scenes", status="done") == 2
    assert value(found, "espcn_scenes", status="failed") == 1
    assert value(found, "espcn_scenes", status="quarantined") == 0
    assert value(found, "espcn_failures", reason="incomplete") == 1
    assert value(found, "espcn_failed_checks") == 1
    assert value(found, "espcn_tiles") == 288
    assert value(found, "espcn_megapixels") == 86.4
    assert value(found, "espcn_products_bytes") == 2 * 10**12
    assert value(found, "espcn_run_seconds") == 5400.25
    assert value(found, "espcn_run_interrupted") == 0
    assert value(found, "espcn_last_run_timestamp_seconds") == 1795663800
    assert value(found, "espcn_last_success_timestamp_seconds") is None


def test_the_last_success_outlives_nights_that_fail(tmp_path: Path) -> None:
    path = tmp_path / "espcn.prom"
    write_metrics(path, summary(DONE))
    first = value(read_metrics(path), "espcn_last_success_timestamp_seconds")
    assert first == 1795663800
    write_metrics(path, summary(DONE, FAILED, ended="2026-11-27T03:30:00+00:00"))
    found = read_metrics(path)
    assert value(found, "espcn_last_success_timestamp_seconds") == first
    assert value(found, "espcn_last_run_timestamp_seconds") == first + 86400
    write_metrics(path, replace(summary(DONE), interrupted=True))
    assert value(read_metrics(path), "espcn_last_success_timestamp_seconds") == first
    write_metrics(path, summary(ended="2026-11-28T03:30:00+00:00"))
    assert value(read_metrics(path), "espcn_last_success_timestamp_seconds") == first + 2 * 86400


def test_scenes_that_were_quarantined_long_ago_do_not_hinder_success(tmp_path: Path) -> None:
    path = tmp_path / "espcn.prom"
    old = replace(FAILED, status="quarantined", attempts=0)
    write_metrics(path, summary(DONE, old))
    found = read_metrics(path)
    assert value(found, "espcn_last_success_timestamp_seconds") == 1795663800
    assert value(found, "espcn_scenes", status="quarantined") == 1
    write_metrics(path, summary(DONE, replace(old, attempts=3), ended="2026-11-27T03:30:00Z"))
    assert value(read_metrics(path), "espcn_last_success_timestamp_seconds") == 1795663800


def test_the_success_of_another_inbox_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "espcn.prom"
    write_metrics(path, summary(DONE))
    write_metrics(path, replace(summary(FAILED), inbox="/data/in2"))
    assert value(read_metrics(path), "espcn_last_success_timestamp_seconds") is None


def test_a_damaged_file_of_metrics_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "espcn.prom"
    path.write_bytes(b'\xff\x00espcn_last_success_timestamp_seconds{inbox="/data/in"} soon\n')
    write_metrics(path, summary(FAILED))
    assert value(read_metrics(path), "espcn_last_success_timestamp_seconds") is None


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_any_inbox_makes_a_label_that_reads_back(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    path = tmp_path_factory.mktemp("metrics") / "espcn.prom"
    for scene in (DONE, FAILED):
        write_metrics(path, replace(summary(scene), inbox=name))
    found = read_metrics(path)
    assert {dict(pairs)["inbox"] for _, pairs in found} == {name}
    assert value(found, "espcn_last_success_timestamp_seconds") == 1795663800


def test_an_inbox_that_is_no_text_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "espcn.prom"
    write_metrics(path, replace(summary(DONE), inbox=os.fsdecode(b"/data/\xff")))
    assert {dict(pairs)["inbox"] for _, pairs in read_metrics(path)} == {"/data/?"}


def test_prometheus_own_reader_takes_the_metrics(tmp_path: Path) -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="needs prometheus-client")
    path = tmp_path / "espcn.prom"
    write_metrics(path, replace(summary(DONE, FAILED), inbox='/a "b"\\c\n'))
    families = list(parser.text_string_to_metric_families(path.read_text()))
    assert {family.type for family in families} == {"gauge"}
    theirs = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }
    assert theirs == read_metrics(path)


def test_metrics_are_for_everyone_to_read_and_appear_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "espcn.prom"
    before = os.umask(0o077)
    try:
        write_metrics(path, summary(DONE))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    text = path.read_text()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PublishError, match=r"No space left on device.*schedule\.metrics_file"):
        write_metrics(path, summary(FAILED))
    assert path.read_text() == text
    assert [file.name for file in tmp_path.iterdir()] == ["espcn.prom"]


def test_metrics_without_a_folder_are_an_error_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(PublishError) as caught:
        write_metrics(tmp_path / "missing" / "espcn.prom", summary(DONE))
    assert "\n" not in str(caught.value)
    assert "missing/espcn.prom" in str(caught.value)
