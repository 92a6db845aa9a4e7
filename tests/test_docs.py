"""What the documents say is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

import espcn
from workflows.cli import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


def command_lines() -> list[str]:
    """Every `espcn ...` line of the shell blocks of README and configs."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    for file in (ROOT / "configs").rglob("*.yaml"):
        lines += [line.lstrip("# ") for line in file.read_text().splitlines()]
    return [line for line in lines if line.startswith("espcn ") and " ... " not in line]


def rows_of_models() -> str:
    """The README's table of models, as the weights files have it."""
    rows = []
    for card in espcn.shipped():
        figure = "set5_psnr_y" if "set5_psnr_y" in card.metrics else "validation_psnr"
        where = "Set5" if figure == "set5_psnr_y" else "held back"
        bands = "any" if card.bands == 1 else card.bands
        rows.append(
            f"| [`{card.name}`](espcn/weights/{card.name}.md) | x{card.scale} | {bands} "
            f"| {card.halo} | {where} | {card.metrics[figure]:.2f} "
            f"| {card.metrics[f'{figure}_bicubic']:.2f} |\n"
        )
    return "".join(rows)


def test_the_readme_has_command_lines() -> None:
    assert len(command_lines()) > 15


@pytest.mark.parametrize("line", command_lines())
def test_a_command_line_of_the_documents_parses(line: str) -> None:
    group: Any = typer.main.get_command(app)
    arguments = shlex.split(line, comments=True)[1:]
    if arguments == ["--install-completion"]:
        return
    # resolves subcommands and parses every option and argument, but calls nothing
    context = group.make_context("espcn", arguments)
    while rest := [*context._protected_args, *context.args]:
        _, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(command.name, rest, parent=context)
    assert context.command.name in line


def test_flags_named_in_the_readme_exist() -> None:
    group: Any = typer.main.get_command(app)
    commands = group.commands.values()
    known = {name for c in commands for parameter in c.params for name in parameter.opts}
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"`(--[a-z-]+)", text))
    assert named <= known | {"--version"}


def test_the_table_of_models_is_what_ships() -> None:
    text = (ROOT / "README.md").read_text()
    table = text.partition("<!-- models -->")[2].partition("<!-- /models -->")[0]
    assert table.endswith(rows_of_models())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_between_documents_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^):]+)\)", (ROOT / name).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_constraints_pin_every_direct_dependency() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(name for extra in extras.values() for name in extra)]
    pinned = {_name(line) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert {_name(line) for line in wanted} - {"espcn"} <= pinned


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9-]", requirement)[0].lower()
