"""Layers, checks and files of the configuration."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from workflows.catalogue import SECTIONS, Subject, catalogue, nearest_key
from workflows.config import check_settings, make_job, read_settings, subject_of
from workflows.job import Job

CONFIGS = Path(__file__).parents[1] / "configs"


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "my.yaml"
    file.write_text(text)
    return file


def refusal(*assignments: str, file: Path | None = None, **flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        read_settings(file, assignments, flags=flags)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_without_any_layer_a_job_is_the_default_job() -> None:
    assert make_job("a.tif", ["b.tif"], read_settings()) == Job("a.tif", ("b.tif",))


def test_the_default_file_names_every_option_with_its_default() -> None:
    settings = read_settings(CONFIGS / "default.yaml")
    assert {s.origin for s in settings.values()} == {str(CONFIGS / "default.yaml")}
    assert {k: s.value for k, s in settings.items()} == {
        k: o.default for k, o in catalogue().items()
    }


@pytest.mark.parametrize("file", sorted((CONFIGS / "cluster").iterdir()), ids=lambda f: f.name)
def test_every_cluster_file_is_understood(file: Path) -> None:
    cluster = make_job("a", ["b"], read_settings(flags={"cluster": str(file)})).cluster
    assert not cluster.cluster.endswith(".yaml")
    assert cluster.cluster == "local" or "." in cluster.cluster


def test_workers_on_slurm_leave_before_they_are_killed() -> None:
    cluster = make_job(
        "a", ["b"], read_settings(flags={"cluster": str(CONFIGS / "cluster" / "slurm.yaml")})
    ).cluster
    extra = cluster.options["worker_extra_args"]
    assert isinstance(extra, list)
    lifetime = int(extra[extra.index("--lifetime") + 1].removesuffix("m"))
    hours, minutes, _ = (int(part) for part in str(cluster.options["walltime"]).split(":"))
    assert lifetime < 60 * hours + minutes


def test_later_layers_win(tmp_path: Path) -> None:
    file = written(tmp_path, "output: {compress: zstd, statistics: false}\ntiling: {tile: 512}\n")
    settings = read_settings(
        file, ["tiling.tile=1024", "output.compress=lzw"], flags={"compress": "none", "scale": None}
    )
    assert (settings["output.compress"].value, settings["output.compress"].origin) == (
        "none",
        "--compress",
    )
    assert (settings["tiling.tile"].value, settings["tiling.tile"].origin) == (1024, "--set")
    assert settings["output.statistics"].origin == str(file)
    assert settings["model.scale"].origin == "default"


def test_set_wins_over_a_cluster_file_and_that_over_a_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text("cluster: my.Cluster\nworkers: 3\noptions: {queue: a}\n")
    file = written(tmp_path, "cluster: {cluster: cluster.yaml, workers: 1, timeout: 5}\n")
    settings = read_settings(file, ["cluster.options.queue=b", "cluster.attempts=9"])
    found = make_job("a", ["b"], settings).cluster
    assert (found.cluster, found.workers, found.timeout) == ("my.Cluster", 3, 5.0)
    assert (found.options, found.attempts) == ({"queue": "b"}, 9)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("tilling: {tile: 1024}", "tiling.tile"),
        ("output: {compres: zstd}", "output.compress"),
        ("compress: zstd", "output.compress"),
        ("radiometry: {nodata: 0}", "source.nodata"),
    ],
)
def test_a_typo_is_refused_with_the_nearest_option(tmp_path: Path, text: str, named: str) -> None:
    file = written(tmp_path, text)
    message = refusal(file=file)
    assert str(file) in message
    assert f"did you mean '{named}'?" in message


def test_a_typo_in_a_cluster_file_names_that_file(tmp_path: Path) -> None:
    file = written(tmp_path, "cluster: local\nworker: 3\n")
    assert f"{file}: there is no option 'worker'; did you mean 'workers'?" in refusal(
        cluster=str(file)
    )


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("tiling.tile=1000", "must be a multiple of 512"),
        ("tiling.tile=0", "must be a multiple of 512"),
        ("tiling.tile=big", "must be a whole number or null"),
        ("tiling.tile=true", "must be a whole number or null"),
        ("output.compress=zip", "must be deflate, zstd, lerc, lzw or none"),
        ("output.statistics=1", "must be true or false"),
        ("output.zarr_format=4", "must be 2 or 3"),
        ("source.bands=[]", "one band or more, counted from 1"),
        ("source.bands=[0]", "one band or more, counted from 1"),
        ("source.bands=[1, two]", "a list of whole numbers or null"),
        ("source.drivers=[]", "one driver or more"),
        ("cluster.memory=-1GiB", "a size above 0, such as 4GiB"),
        ("cluster.memory=0", "must be text or null"),
        ("cluster.memory='0'", "a size above 0, such as 4GiB"),
        ("cluster.memory=much", "a size above 0, such as 4GiB"),
        ("radiometry.input_range=[1]", "a list of 2 numbers or null"),
        ("radiometry.input_range=[5, 1]", "low < high"),
        ("cluster.adapt=[4, 2]", "least <= most"),
        ("cluster.workers=-1", "0 or more"),
        ("cluster.options=[1]", "a mapping"),
        ("model.name=null", "must be text"),
        ("nonsense", "section.option=value"),
        ("tiling.tile=[", "is not valid YAML"),
        ("cluster.options={a: &x 1, b: *x}", "aliases"),
        ("cluster.options={a: 1, a: 2}", "repeated"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(assignment: str, named: str) -> None:
    message = refusal(assignment)
    assert named in message
    assert "--set" in message


def test_flags_are_named_in_refusals() -> None:
    assert refusal(compress="zip").startswith("--compress: output.compress")
    assert refusal(bands="1,x").startswith("--bands: source.bands")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("- 1\n- 2\n", "must be a mapping"),
        ("just words", "must be a mapping"),
        ("model: general-x2", "model must be a section"),
        ("a: [1,\n", "line 2: is not valid YAML"),
        ("model: !!python/object/apply:os.system [true]", "is not valid YAML"),
        ("a: &a [1]\nb: *a", "aliases (*name) are not allowed"),
        ("tiling: {tile: 512}\ntiling: {tile: 1024}", "line 2: is not valid YAML (the key"),
        ("1: 2", "must be a mapping of options"),
        ("[" * 3000, "is not valid YAML"),
        ("x" * (2**20 + 1), "larger than 1048576 bytes"),
        ("a: \x00", "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str, named: str) -> None:
    file = written(tmp_path, text)
    message = refusal(file=file)
    assert named in message
    assert str(file) in message


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(file=tmp_path / "no.yaml")
    assert "Is a directory" in refusal(file=tmp_path)


def test_empty_files_and_sections_change_nothing(tmp_path: Path) -> None:
    for text in ("", "# nothing\n", "model:\ntiling: {}\n"):
        assert make_job("a", ["b"], read_settings(written(tmp_path, text))) == Job("a", ("b",))


def test_numbers_are_those_of_yaml_1_2() -> None:
    settings = read_settings(None, ["source.nodata=-1e3", "cluster.timeout=.5"])
    assert (settings["source.nodata"].value, settings["cluster.timeout"].value) == (-1000.0, 0.5)
    for text in ("nan", ".nan", ".NaN"):
        value = read_settings(None, [f"source.nodata={text}"])["source.nodata"].value
        assert math.isnan(value)


def test_bands_are_a_list_of_numbers_on_the_command_line() -> None:
    assert read_settings(flags={"bands": "3,2,1"})["source.bands"].value == (3, 2, 1)
    assert read_settings(flags={"bands": "2"})["source.bands"].value == (2,)
    assert read_settings(flags={"bands": "02,010"})["source.bands"].value == (2, 10)


@pytest.mark.parametrize("file", sorted((CONFIGS / "train").rglob("*.yaml")), ids=lambda f: f.stem)
def test_every_training_file_is_understood(file: Path) -> None:
    assert subject_of(file) == "train"
    settings = read_settings(file, subject="train")
    assert check_settings(settings, "train") > 3
    shipped = file.parent.name == "shipped"
    assert bool(settings["card.terms"].value) == shipped, "a user's data is not known to us"
    assert bool(settings["card.data"].value) == shipped


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("output: {compress: zstd}", "upscale"),
        ("recipe: {scale: 3}", "train"),
        ("card: {title: mine}\nrun:", "train"),
        ("model: {}\nrecipe: {}\ndata: {}", "train"),
        ("model: {}\nrecipe: {}", "upscale"),
        ("recpie: {scale: 3}", "upscale"),
        ("", "upscale"),
    ],
)
def test_a_file_s_sections_tell_what_it_is_about(
    tmp_path: Path, text: str, subject: Subject
) -> None:
    assert subject_of(written(tmp_path, text)) == subject
    assert subject_of(None) == "upscale"


def test_options_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, "run: {minutes: 3, epochs: 4}"), subject="train")
    with pytest.raises(ConfigError, match="exclude each other"):
        check_settings(settings, "train")


@pytest.mark.parametrize("subject", get_args(Subject))
def test_every_option_is_explained(subject: Subject) -> None:
    options = catalogue(subject)
    assert all(option.doc and option.allowed for option in options.values())
    assert {key.partition(".")[0] for key in options} == set(SECTIONS[subject])


@given(st.text(max_size=30))
def test_any_mistyped_key_has_a_nearest_option(key: str) -> None:
    assert nearest_key(key) in catalogue()


@given(st.text(max_size=60))
def test_any_assignment_is_taken_or_refused(text: str) -> None:
    for key in ("tiling.tile", "cluster.options", "source.bands", "model.name"):
        with suppress(ConfigError):
            read_settings(None, [f"{key}={text}"])
