"""The documentation says what is there: links, commands, names, numbers, claims."""

import ast
import doctest
import importlib
import importlib.util
import inspect
import re
import shlex
import textwrap
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import poolscope as ps

REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = REPOSITORY / "docs"
PAGES = sorted(DOCS.glob("*.md"))
READ = [REPOSITORY / "README.md", *PAGES]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of code of a language."""
    return [code for kind, code in FENCE.findall(page.read_text()) if kind == language]


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def script(path: Path) -> ModuleType:
    """Import a script by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands(page: Path) -> list[tuple[list[str], bool]]:
    """Return the poolscope commands of a page as words, and whether they stand in a block, to be copied."""
    lines = [(line, True) for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    lines += [(line, False) for line in re.findall(r"`(poolscope [^`]+)`", prose(page))]
    found = []
    for line, whole in lines:
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            del words[0]
        if words[:1] == ["torchrun"]:
            words = words[words.index("poolscope") :]
        if words[:1] == ["poolscope"]:
            found.append(([word for word in words[1:] if word != "&"], whole))
    return found


@pytest.mark.parametrize("page", READ, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in LINK.findall(prose(page)):
        if target.startswith(("http:", "https:")):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        assert place.exists(), f"{page.name} links to {target}, which is not there"
        assert not anchor or anchor in anchors(place), f"{page.name} links to {target}: no such heading"


def test_every_page_is_in_the_navigation():
    nav = yaml.load((REPOSITORY / "mkdocs.yml").read_text(), Loader=yaml.BaseLoader)["nav"]

    def pages(items: object) -> list[str]:
        if isinstance(items, str):
            return [items]
        values = items.values() if isinstance(items, dict) else items
        return [page for each in values for page in pages(each)]

    assert sorted(pages(nav)) == [page.name for page in PAGES]


def test_commands_are_understood():
    import typer

    from poolscope.cli import app

    every = typer.main.get_command(app).commands
    wrong = []
    for page, (words, whole) in ((each, command) for each in READ for command in commands(each)):
        if words == ["--help"]:
            continue
        fine = {"Exit"} if whole else {"Exit", "MissingParameter"}  # --help; a sentence may just name a command
        try:
            every[words[0]].make_context(words[0], words[1:])
        except Exception as error:
            if type(error).__name__ not in fine:
                wrong.append(f"{page.name}: poolscope {shlex.join(words)}: {getattr(error, 'message', repr(error))}")
    assert not wrong, "\n".join(wrong)


def test_names_and_arguments_in_python_exist():
    for page in READ:
        for node in (node for block in blocks(page, "python") for node in ast.walk(ast.parse(textwrap.dedent(block)))):
            if isinstance(node, ast.Call) and (function := named(node.func)) is not None:
                known = inspect.signature(function).parameters
                if not any(each.kind is each.VAR_KEYWORD for each in known.values()):
                    unknown = {each.arg for each in node.keywords if each.arg} - set(known)
                    assert not unknown, f"{page.name}: {ast.unparse(node.func)} has no argument {unknown}"
            elif isinstance(node, ast.Attribute):
                named(node)


def named(node: ast.AST) -> object:
    """Return what an expression like ps.theory.predict names; None if it does not begin with ps."""
    if isinstance(node, ast.Name):
        return ps if node.id == "ps" else None
    if isinstance(node, ast.Attribute):
        owner = named(node.value)
        return None if owner is None else getattr(owner, node.attr)
    return None


@pytest.mark.parametrize("name", ["theory", "errata"])
def test_numbers_are_what_the_library_computes(name):
    source = "\n".join(blocks(DOCS / f"{name}.md", "pycon"))
    test = doctest.DocTestParser().get_doctest(source, {}, name, f"{name}.md", 0)
    assert len(test.examples) > 20
    said: list[str] = []
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    outcome = doctest.DocTestRunner(optionflags=flags).run(test, out=said.append)
    assert not outcome.failed, "".join(said)


def test_all_errata_are_there_once():
    page = (DOCS / "errata.md").read_text()
    numbers = [str(number) for number in range(1, 30)]
    assert re.findall(r"^## (\d+)\. ", page, flags=re.MULTILINE) == numbers
    assert re.findall(r"^\| \[(\d+)\]\(#\1-", page, flags=re.MULTILINE) == numbers


def test_claims_are_up_to_date():
    make = script(DOCS / "make_claims.py")
    claims = make.read_claims(make.RESULTS) if make.RESULTS.is_file() else None
    expected, found = make.page(claims), (DOCS / "claims.md").read_text()
    assert found == expected, "docs/claims.md is not what claims and results make: python docs/make_claims.py"


def test_claims_show_verdicts():
    import pandas as pd

    from poolscope.studies.reproduce.claim import AMPLITUDES
    from poolscope.studies.reproduce.claims import CLAIMS

    first, last = CLAIMS[0], next(claim for claim in CLAIMS if claim.identifier == "orbit-pools")
    words = {"study": "", "source": "", "interval": "exact", "scale": "laptop", "note": "a | b", "why": ""}
    verdicts = dict(zip(AMPLITUDES, ("inconclusive", "reproduced", "not reproduced"), strict=True))
    rows = [
        {"claim": claim.identifier, "displacement": at, "value": 0.25, "low": 0.2, "high": 0.3, "verdict": verdict}
        for claim, at, verdict in [
            *((first, at, verdict) for at, verdict in verdicts.items()),
            (last, float("nan"), "not reproduced"),
        ]
    ]
    known = {claim.identifier: claim for claim in CLAIMS}
    table = pd.DataFrame(rows).assign(part="", **words)
    for name in ("sentence", "quantity", "expected", "erratum"):
        table[name] = [getattr(known[claim], name) for claim in table["claim"]]
    page = script(DOCS / "make_claims.py").page(table)
    assert "| ✓ reproduced (half: inconclusive; twice: not reproduced) | 0.25 (0.2 to 0.3) |" in page
    assert re.search(r"^\| \[orbit-pools\].*\| ✗ not reproduced \| 0.25 \(0.2 to 0.3\) \|", page, flags=re.MULTILINE)
    assert re.search(r"^\| \[mean-channel\].*\| – not run \|  \|", page, flags=re.MULTILINE)
    assert "a \\| b" in page


def test_api_lists_every_public_name():
    listed = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(), flags=re.MULTILINE)
    wanted = {f"poolscope.{name}" for name in ps.__all__ if name not in ("tasks", "theory")}
    wanted |= {f"poolscope.theory.{name}" for name in ps.theory.__all__}
    assert wanted <= set(listed), f"docs/api.md lacks {sorted(wanted - set(listed))}"
    assert len(listed) == len(set(listed))
    for name in listed:  # looked up, not imported: that takes a minute while annotations are checked
        home, _, last = name.rpartition(".")
        place = REPOSITORY / "src" / home.replace(".", "/")
        code = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
        defined = rf'^(?:class|def) {last}\b|^__all__ = [^]]*"{last}"'
        assert re.search(defined, code.read_text(), flags=re.MULTILINE), f"docs/api.md names {name}, which is not there"


def test_own_study_is_quoted_as_it_runs():
    example = (REPOSITORY / "examples" / "own_study.py").read_text()
    page = DOCS / "own-study.md"
    for block in blocks(page, "python"):
        assert block in example, f"own-study.md quotes what examples/own_study.py does not have:\n{block}"
    for module, function in re.findall(r"^\| `work\.(\w+)\.(\w+)` \|", page.read_text(), flags=re.MULTILINE):
        assert hasattr(importlib.import_module(f"poolscope.studies.reproduce.work.{module}"), function)


@pytest.mark.slow
def test_the_tutorial_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    script(REPOSITORY / "examples" / "own_model.py").write_digits(tmp_path / "own-model" / "digits")
    names: dict[str, object] = {}
    for block in blocks(DOCS / "tutorial.md", "python"):
        exec(compile(block, "tutorial.md", "exec"), names)
    assert (tmp_path / "own-model" / "report.html").is_file()
    said = capsys.readouterr().out.split()
    for block in blocks(DOCS / "tutorial.md", "text"):  # rounding moves the last digits from machine to machine
        words = [word for word in block.split() if not re.search(r"\d", word)]
        assert set(words) <= set(said), f"the tutorial prints other words than {words}"
