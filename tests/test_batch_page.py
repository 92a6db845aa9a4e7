"""The run report: what it says, that it needs nothing else, and that a person can use it."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import PublishError, SourceError
from pipeline.serial import from_json, to_json
from workflows.batch import page_pictures
from workflows.batch.outcome import Check, RunSummary, SceneOutcome
from workflows.batch.page import read_summary, summary_json, write_page
from workflows.batch.page_words import amount, breakable, duration, moment, period, plain, size

HOSTILE = '<script>window.stolen=1</script><img src=x onerror="window.stolen=1">"\'&{{ 7*7 }}'
CHECKS = (
    Check("coverage", True, 1.0, 1.0, "r10m"),
    Check("consistency", True, 0.0421, 0.15, "r10m"),
    Check("recomputed", True, None, None, "r10m", "1 window equal"),
)
BEFORE, AFTER = (200, 30, 30), (30, 30, 200)
"""Colours of the plain pictures: red and blue."""


def done(name: str, **changes: Any) -> SceneOutcome:
    """A scene that became a product."""
    made = SceneOutcome(
        scene=name,
        path=f"tonight/{name}.SAFE",
        status="done",
        key="3f2a" * 16,
        family="sentinel2",
        attempts=1,
        product=f"{name}_SR",
        model="sentinel2-x3, nearest",
        scale="3, 3",
        tiles=1296,
        megapixels=4340.9,
        bytes=1_730_000_000,
        seconds=412.0,
        checks=CHECKS,
        pictures=(f"{name}_SR/{name}_SR.swipe-before.png", f"{name}_SR/{name}_SR.swipe-after.png"),
    )
    return replace(made, **changes)


def failed(name: str, **changes: Any) -> SceneOutcome:
    """A scene that did not."""
    lost = SceneOutcome(
        scene=name,
        path=f"tonight/{name}.zip",
        status="failed",
        family="sentinel2",
        reason="unreadable",
        message=f"{name}.zip: ends after 3 of 12 MB: deliver it again",
        attempts=2,
    )
    return replace(lost, **changes)


def skipped(name: str) -> SceneOutcome:
    """A scene that was done before."""
    return done(name, status="skipped", message="done before", tiles=0, megapixels=0.0, seconds=0.0)


def run_of(*scenes: SceneOutcome, **changes: Any) -> RunSummary:
    """A night."""
    night = RunSummary(
        run="20261126T020000Z-3f2a",
        started="2026-11-26T02:00:00Z",
        ended="2026-11-26T05:12:08Z",
        seconds=11528.0,
        inbox="/data/inbox",
        outbox="/data/outbox",
        scenes=scenes,
        versions={"espcn": "0.1.0", "numpy": "2.4.6"},
    )
    return replace(night, **changes)


def lay(outbox: Path, scenes: Sequence[SceneOutcome]) -> Path:
    """Products of plain red and blue pictures, as far as a report looks at them."""
    for scene in scenes:
        if scene.product is not None:
            folder = outbox / scene.product
            folder.mkdir(parents=True)
            (folder / f"{folder.name}.json").write_text('{"type": "Feature"}')
            for path, colour in zip(scene.pictures or (), (BEFORE, AFTER), strict=False):
                Image.new("RGB", (64, 48), colour).save(outbox / path)
    return outbox


def page_of(summary: RunSummary, outbox: Path) -> str:
    """The report of a run as text."""
    return write_page(summary, outbox)[0].read_text()


class Page(HTMLParser):
    """Tags with their attributes, and the text outside of style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember it."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Remember it, with single spaces."""
        if self.tags and self.tags[-1][0] not in ("style", "script"):
            self.text = " ".join(f"{self.text} {data}".split())

    def all(self, tag: str, attribute: str) -> list[str]:
        """Values of an attribute of a tag."""
        return [
            str(found[attribute]) for name, found in self.tags if name == tag and attribute in found
        ]


# words


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (amount(0.0), "–"),
        (amount(float("nan")), "–"),
        (amount(0.01234), "0.0123"),
        (amount(12.0), "12.0"),
        (amount(99.97), "100"),
        (amount(12345.6), "12,346"),
        (size(0), "–"),
        (size(999), "999 B"),
        (size(1000), "1.00 kB"),
        (size(1_730_000_000), "1.73 GB"),
        (size(5 * 10**15), "5,000 TB"),
        (duration(0.0), "–"),
        (duration(59.94), "59.9 s"),
        (duration(59.96), "1 min 0 s"),
        (duration(3599.9), "1 h 0 min"),
        (duration(95_000.0), "26 h 23 min"),
        (moment("2026-11-26T03:30:00+01:30"), "26 Nov 2026, 02:00 UTC"),
        (moment("tonight"), "tonight"),
        (period("2026-11-26T02:00:00Z", "2026-11-26T05:12:08"), "26 Nov 2026, 02:00 to 05:12 UTC"),
        (
            period("2026-11-25T23:00:00Z", "2026-11-26T05:12:08Z"),
            "25 Nov 2026, 23:00 UTC to 26 Nov 2026, 05:12 UTC",
        ),
        (plain("a\u202eb\x00c\nd\udcff"), "a�b�c d�"),
        (breakable("T33_<b>/x"), "T33_<wbr>&lt;b&gt;/<wbr>x"),
    ],
)
def test_figures_and_names_are_for_people(shown: object, text: str) -> None:
    assert shown == text


@given(st.integers(1, 10**17))
def test_a_size_has_one_unit_and_at_most_three_digits_before_it(count: int) -> None:
    number, unit = size(count).split()
    powers = {"B": 0, "kB": 1, "MB": 2, "GB": 3, "TB": 4}
    value = float(number.replace(",", ""))
    assert value * 1000 ** powers[unit] == pytest.approx(count, rel=0.006)
    assert value <= 1000 or unit == "TB"


# what the report says


@pytest.mark.parametrize(
    ("scenes", "changes", "tone", "headline"),
    [
        ((), {}, "calm", "No scenes"),
        ((skipped("A"),), {}, "calm", "Nothing new"),
        ((done("A"),), {}, "good", "The new scene is done"),
        ((done("A"), done("B"), skipped("C")), {}, "good", "All 2 new scenes are done"),
        ((done("A"), failed("B", status="quarantined")), {}, "warn", "The new scene is done"),
        ((done("A"), failed("B"), skipped("C")), {}, "bad", "1 of 3 scenes failed"),
        ((done("A"),), {"interrupted": True}, "bad", "Stopped before all scenes were seen to"),
    ],
)
def test_the_headline_is_the_verdict(
    scenes: tuple[SceneOutcome, ...],
    changes: dict[str, Any],
    tone: str,
    headline: str,
    tmp_path: Path,
) -> None:
    text = page_of(run_of(*scenes, **changes), tmp_path)
    assert f'data-tone="{tone}"' in text
    assert f"<h1>{headline}</h1>" in text
    assert f"<title>{headline} · 26 Nov 2026 · espcn</title>" in text


def test_failures_come_first_with_their_reasons_most_frequent_first(tmp_path: Path) -> None:
    scenes = (
        done("A"),
        failed("B", status="quarantined", reason="crash", message="the worker died (signal 11)"),
        failed("C", reason="incomplete", message="B04 is missing"),
        failed("D"),
        failed("E"),
    )
    page = Page(page_of(run_of(*scenes), tmp_path))
    marks = ["Cannot be read", "Incomplete", "B04 is missing", "Crashed the reader", "signal 11"]
    table = page.text.rindex("All scenes")
    places = [*(page.text.index(mark) for mark in marks), table]
    assert places == sorted(places)
    assert "2 scenes failed" in page.text
    assert "No longer tried until a run with --retry-failed" in page.text
    rows = [page.text.index(f" {name} tonight/", table) for name in "CDEBA"]
    assert rows == sorted(rows)


def test_a_failed_check_is_told_with_value_and_limit(tmp_path: Path) -> None:
    check = Check("mean bias", False, 0.0123, 0.002, "r20m", "band B05")
    scene = failed("A", reason="failed", message="a check failed", checks=(*CHECKS, check))
    page = Page(page_of(run_of(scene), tmp_path))
    assert "mean bias of r20m: 0.0123, limit 0.002 (band B05)" in page.text
    assert "1 of 4 failed" in page.text


def test_many_failures_unfold(tmp_path: Path) -> None:
    page = Page(page_of(run_of(*(failed(f"S{i}") for i in range(60))), tmp_path))
    assert "50 more scenes" in page.text


def test_pictures_lie_in_the_page_small_and_their_number_is_stated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_pictures, "MOST", 2)
    scenes = [done(f"S{i}") for i in range(5)]
    lay(tmp_path, scenes)
    noise = np.random.default_rng(1).integers(0, 255, (900, 1200, 4), "uint8")
    for picture in scenes[0].pictures or ():
        Image.fromarray(noise, "RGBA").save(tmp_path / picture)
    page = Page(page_of(run_of(*scenes), tmp_path))
    pictures = page.all("img", "src")
    assert len(pictures) == 4
    assert "Pictures of 2 of 5 products" in page.text
    image = Image.open(io.BytesIO(_bytes(pictures[0])))
    assert (image.format, image.size, image.mode) == ("WEBP", (512, 384), "RGBA")


def test_a_picture_of_one_product_is_close_to_what_the_folder_holds(tmp_path: Path) -> None:
    scene = done("A")
    lay(tmp_path, [scene])
    truth = np.kron(np.random.default_rng(2).integers(40, 200, (40, 40, 1)), np.ones((8, 8, 3)))
    for picture in scene.pictures or ():
        Image.fromarray(truth.astype("uint8")).save(tmp_path / picture)
    for uri in Page(page_of(run_of(scene), tmp_path)).all("img", "src"):
        shown = np.asarray(Image.open(io.BytesIO(_bytes(uri)))).astype(float)
        assert np.abs(shown - truth).mean() < 4


@pytest.mark.parametrize(
    "content", [None, b"", b"\x89PNG\r\n\x1a\n broken", b"P6 99999999 99999999 255\n"]
)
def test_a_report_is_written_whatever_became_of_a_picture(
    content: bytes | None, tmp_path: Path
) -> None:
    scenes = [done("A"), done("B")]
    lay(tmp_path, scenes)
    path = tmp_path / (scenes[0].pictures or ("",))[0]
    path.unlink() if content is None else path.write_bytes(content)
    page = Page(page_of(run_of(*scenes), tmp_path))
    assert len(page.all("img", "src")) == 2
    assert "Pictures of 1 of 2 products" in page.text


def test_links_are_relative_and_lead_to_what_is_there(tmp_path: Path) -> None:
    scenes = [done("A b#c?%41"), done("gone"), skipped("old")]
    lay(tmp_path, [scenes[0], scenes[2]])
    page, facts = write_page(run_of(*scenes), tmp_path)
    links = [link for link in Page(page.read_text()).all("a", "href") if not link.startswith("#")]
    assert (
        sum(link.endswith("_SR.json") for link in links) == 2 * 2 + 1
    )  # two rows twice, one picture
    for link in links:
        assert link.startswith("../")
        if "swipe" not in link:
            assert (page.parent / unquote(link)).exists()
    assert facts.parent == page.parent == tmp_path / "reports"


def test_names_that_are_no_unicode_are_shown_and_linked(tmp_path: Path) -> None:
    scenes = [done("caf\udce9"), done("مشهد"), failed("nul\x00\u202egnp.fit")]
    lay(tmp_path, scenes[:2])
    text = page_of(run_of(*scenes), tmp_path)
    assert 'href="../caf%E9_SR/"' in text
    assert "caf\N{REPLACEMENT CHARACTER}" in text
    assert "مشهد" in text
    assert "\u202e" not in text
    assert "\x00" not in text


def test_the_page_holds_nothing_that_a_name_brought(tmp_path: Path) -> None:
    check = Check(HOSTILE, False, 1.0, 0.0, HOSTILE, HOSTILE)
    words = {"model": HOSTILE, "scale": HOSTILE, "key": HOSTILE, "family": HOSTILE}
    bad = failed(HOSTILE, message=HOSTILE, checks=(check,), notes=(HOSTILE,), path=HOSTILE, **words)
    fine = done("A", message=HOSTILE, notes=(HOSTILE,), **words)
    lay(tmp_path, [fine])
    hostile = run_of(bad, fine, inbox=HOSTILE, outbox=HOSTILE, versions={HOSTILE: HOSTILE})
    harmless = json.loads(summary_json(hostile).replace(json.dumps(HOSTILE)[1:-1], "harmless"))
    found = Page(page_of(hostile, tmp_path))
    expected = Page(page_of(from_json(RunSummary, harmless), tmp_path))
    shape = [(tag, sorted(attributes)) for tag, attributes in expected.tags]
    assert [(tag, sorted(attributes)) for tag, attributes in found.tags if tag != "wbr"] == [
        each for each in shape if each[0] != "wbr"
    ]
    assert found.text.count("{{ 7*7 }}") > 10


def test_nothing_is_loaded_from_anywhere(tmp_path: Path) -> None:
    scenes = [done("A"), failed("B")]
    text = page_of(run_of(*scenes), lay(tmp_path, scenes))
    page = Page(text)
    loading = [value for tag, found in page.tags for key, value in found.items() if key == "src"]
    assert loading
    assert all(str(value).startswith("data:image/webp") for value in loading)
    assert "default-src 'none'" in page.all("meta", "content")[0]
    assert not page.all("link", "href")[1:]
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_the_run_before_is_told_of(tmp_path: Path) -> None:
    before = run_of(done("A"), run="20261125T020000Z-1111", started="2026-11-25T02:00:00Z")
    first = page_of(before, tmp_path)
    write_page(run_of(run="20261127T020000Z-2222"), tmp_path)
    text = page_of(run_of(done("B")), tmp_path)
    assert "The run before" not in first
    assert 'href="../reports/20261125T020000Z-1111.html">25 Nov 2026</a>' in text


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"scenes": [{}]}', "null"])
def test_a_broken_report_before_is_passed_over(content: str, tmp_path: Path) -> None:
    before = run_of(run="20261125T020000Z-1111")
    facts = write_page(before, tmp_path)[1]
    facts.write_text(content)
    with pytest.raises(SourceError, match=r"1111\.json: is no report of a run"):
        read_summary(facts)
    assert "The run before" not in page_of(run_of(), tmp_path)


# JSON


def test_the_json_report_holds_the_whole_run(tmp_path: Path) -> None:
    check = Check("bias", False, float("nan"), float("inf"))
    scenes = (done("A", checks=(check,)), failed("caf\udce9"), skipped("C"))
    summary = run_of(*scenes, interrupted=True)
    read = read_summary(write_page(summary, tmp_path)[1])
    assert to_json(read) == to_json(summary)
    assert read.scenes[1:] == summary.scenes[1:]
    assert json.loads(summary_json(summary))["scenes"][0]["checks"][0]["value"] == "nan"


def test_a_report_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("in the way")
    with pytest.raises(PublishError, match="reports: cannot be written"):
        write_page(run_of(), tmp_path)


# in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    names = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=found)
        yield launched
        launched.close()


class Visit:
    """A page that is open, with all that it said and asked for."""

    def __init__(self, browser: Any, path: Path, **settings: Any) -> None:
        self.context = browser.new_context(**{"offline": True} | settings)
        self.tab = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.tab.on("console", self._hear)
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto(path.as_uri())

    def _hear(self, message: Any) -> None:
        """Remember what the report says; the browser's own list of a folder says things too."""
        if not self.tab.url.endswith("/"):
            self.said.append(message.text)

    def colours(self, selector: str) -> list[str]:
        """Colours along the middle of an element, at 2, 25, 40, 60, 75 and 98 per cent."""
        shot = self.tab.locator(selector).first.screenshot()
        row = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))
        line = row[row.shape[0] * 3 // 4]
        places = [line[int(len(line) * share)] for share in (0.02, 0.25, 0.4, 0.6, 0.75, 0.98)]
        return ["red" if place[0] > place[2] else "blue" for place in places]

    def rows(self) -> list[str]:
        """Names of the scenes that the table shows, from top to bottom."""
        names = self.tab.locator("#scenes > table > tbody:visible > tr:first-child > th summary")
        return list(names.all_inner_texts())


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """Open pages; whatever is opened must stay silent and ask for nothing but itself."""
    visits: list[tuple[Visit, Path]] = []

    def open_page(path: Path, **settings: Any) -> Visit:
        visits.append((Visit(browser, path, **settings), path))
        return visits[-1][0]

    yield open_page
    for each, _ in visits:
        each.context.close()
    for each, path in visits:
        assert each.said == []
        asked = [url for url in each.asked if not url.startswith("data:image/")]
        assert asked[0] == path.as_uri()
        assert all(url.startswith(path.parents[1].as_uri()) for url in asked)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a night of eight scenes."""
    outbox = tmp_path_factory.mktemp("outbox")
    check = Check("mean bias", False, 0.0123, 0.002, "r20m")
    scenes = (
        done("S2B_MSIL2A_20261125T101559_N0511_R065_T33UUP_20261125T122315"),
        done("S2A_MSIL1C_20261125T104321_N0511_R008_T31TCJ_20261125T141213", seconds=90.0),
        done("LC09_L2SP_190024_20261124_20261125_02_T1", model="landsat-x2", scale="2", bytes=9),
        failed("S2B_MSIL2A_20261125T101559_N0511_R065_T33UVP_20261125T122315"),
        failed("m_3008601_ne_16_1_20261110", reason="failed", message="a check", checks=(check,)),
        failed("OLD", status="quarantined", reason="crash", message="the worker died", attempts=3),
        skipped("S2A_MSIL1C_20261120T104321_N0511_R008_T31TCJ_20261120T141213"),
        skipped("S2A_MSIL1C_20261121T104321_N0511_R008_T31TCJ_20261121T141213"),
    )
    return write_page(run_of(*scenes), lay(outbox, scenes))[0]


def test_the_swipe_follows_the_keys(visit: Any, night: Path) -> None:
    page = visit(night)
    swipe = page.tab.locator(".swipe input").first
    assert page.colours(".swipe") == ["red"] * 3 + ["blue"] * 3
    swipe.focus()
    page.tab.keyboard.press("End")
    assert page.colours(".swipe") == ["red"] * 6
    page.tab.keyboard.press("Home")
    assert page.colours(".swipe") == ["blue"] * 6
    for _ in range(3):
        page.tab.keyboard.press("PageUp")
    page.tab.keyboard.press("ArrowRight")
    assert swipe.input_value() == "31"
    assert swipe.get_attribute("aria-valuetext") == "31 per cent input"
    assert page.colours(".swipe") == ["red"] * 2 + ["blue"] * 4


def test_the_swipe_is_reached_by_tabs_alone(visit: Any, night: Path) -> None:
    page = visit(night)
    for _ in range(60):
        page.tab.keyboard.press("Tab")
        if page.tab.evaluate("document.activeElement.type") == "range":
            break
    page.tab.keyboard.press("End")
    assert page.colours(".swipe") == ["red"] * 6


def test_the_swipe_follows_the_pointer(visit: Any, night: Path) -> None:
    page = visit(night)
    swipe = page.tab.locator(".swipe").nth(1)
    swipe.scroll_into_view_if_needed()
    box = swipe.bounding_box()
    x, y = box["x"], box["y"] + box["height"] / 3
    page.tab.mouse.move(x + box["width"] / 2, y)
    page.tab.mouse.down()
    page.tab.mouse.move(x + box["width"] * 0.7, y, steps=5)
    page.tab.mouse.up()
    assert page.colours(".swipe >> nth=1") == ["red"] * 4 + ["blue"] * 2
    handle = page.tab.locator(".handle").nth(1).bounding_box()
    assert handle["x"] + 1 == pytest.approx(x + box["width"] * 0.7, abs=box["width"] / 100 + 2)
    assert page.colours(".swipe") == ["red"] * 3 + ["blue"] * 3


def test_the_swipe_follows_a_finger(visit: Any, night: Path) -> None:
    page = visit(night, has_touch=True, viewport={"width": 390, "height": 800})
    swipe = page.tab.locator(".swipe input").first
    swipe.scroll_into_view_if_needed()
    box = swipe.bounding_box()
    page.tab.touchscreen.tap(box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2)
    assert page.colours(".swipe") == ["red"] * 2 + ["blue"] * 4


def test_where_the_input_is_empty_the_output_does_not_shine_through(
    visit: Any, tmp_path: Path
) -> None:
    scene = done("A")
    lay(tmp_path, [scene])
    Image.new("RGBA", (64, 48)).save(tmp_path / (scene.pictures or ("",))[0])
    page = visit(write_page(run_of(scene), tmp_path)[0])
    page.tab.locator(".swipe input").focus()
    page.tab.keyboard.press("End")
    assert page.colours(".swipe") == ["red"] * 6, "which is what warm paper counts as"


def test_a_picture_can_be_made_larger(visit: Any, night: Path) -> None:
    page = visit(night, viewport={"width": 1400, "height": 900})
    button, swipe = (page.tab.locator(name).first for name in ("[data-larger]", ".swipe"))
    before = swipe.bounding_box()["width"]
    button.click()
    assert swipe.bounding_box()["width"] > 1.5 * before
    assert swipe.bounding_box()["height"] <= 900
    assert button.get_attribute("aria-pressed") == "true"


def test_without_scripts_both_pictures_and_all_facts_are_there(visit: Any, night: Path) -> None:
    page = visit(night, java_script_enabled=False)
    assert page.colours(".swipe") == ["red"] * 3 + ["blue"] * 3
    assert len(page.rows()) == 8
    assert not page.tab.locator("form").is_visible()
    row = page.tab.locator("#scene-1")
    assert not row.locator(".more").is_visible()
    row.locator("summary").click()
    assert row.locator(".more").is_visible()


@pytest.mark.parametrize(("label", "end"), [("STAC item", "_SR.json"), ("product", "_SR/")])
def test_links_of_a_product_lead_there(visit: Any, night: Path, label: str, end: str) -> None:
    page = visit(night)
    page.tab.locator("figure").first.get_by_role("link", name=label).click()
    page.tab.wait_for_url(f"**{end}")
    assert "LC09_L2SP_190024_20261124_20261125_02_T1_SR" in page.tab.url
    assert ("Feature" if end == "_SR.json" else "swipe-after.png") in page.tab.content()


def test_a_failure_leads_to_its_row_even_if_that_is_filtered_out(visit: Any, night: Path) -> None:
    page = visit(night)
    page.tab.get_by_label("Find scenes").fill("landsat")
    assert page.rows() == ["LC09_L2SP_190024_20261124_20261125_02_T1"]
    assert page.tab.get_by_text("1 of 8 scenes").is_visible()
    page.tab.locator(".trouble a", has_text="m_3008601").click()
    row = page.tab.locator("tbody", has_text="m_3008601").first.locator(".more")
    row.wait_for(state="visible")
    assert "0.0123" in row.inner_text()
    assert len(page.rows()) == 8
    assert page.tab.evaluate("scrollY") > 0


def test_the_table_is_filtered_by_status_and_words(visit: Any, night: Path) -> None:
    page = visit(night)
    page.tab.locator(".figures a", has_text="failed").click()
    assert page.rows() == [
        "S2B_MSIL2A_20261125T101559_N0511_R065_T33UVP_20261125T122315",
        "m_3008601_ne_16_1_20261110",
    ]
    page.tab.get_by_label("Find scenes").fill("CHECK failed")
    assert page.rows() == ["m_3008601_ne_16_1_20261110"]
    page.tab.get_by_label("Find scenes").fill("")
    page.tab.get_by_label("all 8").check(force=True)
    assert len(page.rows()) == 8


def test_the_table_is_sorted_by_any_column(visit: Any, night: Path) -> None:
    page = visit(night, viewport={"width": 1400, "height": 900})
    as_made = page.rows()
    page.tab.get_by_role("button", name="Mpx/s").click()
    assert page.rows()[0].startswith("S2A_MSIL1C_20261125")
    head = page.tab.get_by_role("columnheader", name="Mpx/s")
    assert head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert page.rows()[-1].startswith("S2A_MSIL1C_20261125")
    page.tab.get_by_role("button", name="Scene", exact=True).click()
    assert page.rows() == sorted(as_made, key=str.lower)
    assert page.tab.locator("[aria-sort]").count() == 1


def test_hostile_names_are_shown_and_do_nothing(visit: Any, tmp_path: Path) -> None:
    scene = done("A", message=HOSTILE, notes=(HOSTILE,), model=HOSTILE)
    bad = failed(HOSTILE, path=HOSTILE, message=HOSTILE)
    path = write_page(run_of(scene, bad, inbox=HOSTILE), lay(tmp_path, [scene]))[0]
    page = visit(path)
    assert page.tab.evaluate("window.stolen") is None
    assert page.rows()[0] == HOSTILE
    assert page.tab.locator(".trouble p", has_text=HOSTILE).first.is_visible()


def test_a_script_that_got_in_would_not_run(visit: Any, night: Path, tmp_path: Path) -> None:
    text = night.read_text().replace("</main>", "<script>window.stolen=1</script></main>")
    (tmp_path / "reports").mkdir()
    path = tmp_path / "reports" / "x.html"
    path.write_text(text)
    page = visit(path)
    assert page.tab.evaluate("window.stolen") is None
    assert "Content Security Policy" in page.said.pop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_the_light_and_in_the_dark(visit: Any, night: Path, scheme: str) -> None:
    page = visit(night, color_scheme=scheme)
    paper = luminance(page.tab, "body", "backgroundColor")
    assert (paper > 0.5) == (scheme == "light")
    for selector in ("h1", "header .over", ".lead + p", ".figures a", ".path", "a", "thead button"):
        assert contrast(luminance(page.tab, selector, "color"), paper) >= 4.5, selector
    for status in ("done", "skipped", "failed", "quarantined"):
        ink = luminance(page.tab, f".status.{status}", "color")
        assert contrast(ink, paper) >= 4.5, status


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1440])
def test_nothing_sticks_out_of_a_window(visit: Any, night: Path, width: int) -> None:
    page = visit(night, viewport={"width": width, "height": 800})
    page.tab.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
    assert page.tab.locator("#scene-1 .more").is_visible()
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= width


def test_five_hundred_scenes_are_legible(visit: Any, tmp_path: Path) -> None:
    scenes = [
        (failed if i % 97 == 0 else skipped if i % 3 else done)(f"S2A_MSIL1C_T31TCJ_{i:03}")
        for i in range(500)
    ]
    path = write_page(run_of(*scenes), lay(tmp_path, scenes))[0]
    page = visit(path, viewport={"width": 1440, "height": 900})
    assert page.tab.locator("figure").count() == 24
    assert page.tab.get_by_text("Pictures of 24 of 165 products").is_visible()
    assert len(page.rows()) == 500
    heights = page.tab.evaluate(
        "[...document.querySelectorAll('#scenes > table > tbody')].map((row) => row.offsetHeight)"
    )
    assert max(heights) <= 110
    page.tab.evaluate("scrollTo({ top: 15000, behavior: 'instant' })")
    head = page.tab.locator("#scenes > table > thead th").first.bounding_box()
    assert head["y"] == pytest.approx(0, abs=1)


def luminance(tab: Any, selector: str, style: str) -> float:
    """Relative luminance of a colour of the first such element (WCAG 2.2)."""
    text = tab.evaluate(
        "([selector, style]) => getComputedStyle(document.querySelector(selector))[style]",
        [selector, style],
    )
    channels = [int(value) / 255 for value in text[text.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: float, other: float) -> float:
    """Contrast ratio of two luminances (WCAG 2.2)."""
    dark, light = sorted((one, other))
    return (light + 0.05) / (dark + 0.05)


def _bytes(uri: str) -> bytes:
    import base64

    return base64.b64decode(uri.partition(",")[2])
