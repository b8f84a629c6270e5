# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""Recipe ``template.jinja2``."""

import contextlib
import hashlib
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment.secret import Secret
from allotment_recipes import typed_options
from allotment_recipes.recipes import template

Make = Callable[..., Any]


@pytest.fixture
def render(make_recipe: Make, tmp_path: Path) -> Callable[..., str]:
    def run(text: str, sections: dict[str, Any] | None = None, **options: str) -> str:
        given = {"inline": text, "output": "o", **{name.replace("_", "-"): value for name, value in options.items()}}
        make_recipe(template.Recipe, given, **(sections or {})).install()
        return (tmp_path / "o").read_text()

    return run


def test_each_kind_of_context(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "t.j2").write_text(
        "{% import 'lib' as lib %}{{ lib.f(a) }} {{ b }} {{ c[1] }} {{ d.x }} {{ e.y }} {{ f.dumps(c) }} ${x:y}\n"
    )
    (tmp_path / "lib.j2").write_text("{% macro f(x) %}<{{ x }}>{% endmacro %}")
    context = "raw a 1 2\nkey b other:y\njson c [1, 2]\njsonkey d other:json\nsection e other\nimport f json"
    options = {"url": "t.j2", "output": "etc/out", "context": context, "import-list": "file lib lib.j2", "mode": "0640"}
    recipe = make_recipe(template.Recipe, options, other={"y": "why", "json": '{"x": true}'})
    assert recipe.install() == [tmp_path / "etc/out"]
    assert (tmp_path / "etc/out").read_text() == "<1 2> why 2 True why [1, 2] ${x:y}\n"
    assert stat.S_IMODE((tmp_path / "etc/out").stat().st_mode) == 0o640


def test_own_options_and_values_that_are_no_texts(render: Any) -> None:
    sections = {"x": {"list": [1, {"a": (2,)}], "none": None}}
    assert render(
        "{{ o }} {{ l[1].a[0] + 1 }} {{ n is none }}", sections, context="key o :output\nkey l x:list\nkey n x:none"
    ).endswith("/o 3 True")


def test_values_are_written_for_profiles(render: Any) -> None:
    text = render("{{ dumps(x) }}|{{ dumps('a\nb${c:d}') }}", context='json x {"a": [1, null, "ü"]}')
    first, second = text.split("|")
    assert typed_options.loads(first) == {"a": [1, None, "ü"]}
    assert typed_options.loads(second) == "a\nb${c:d}"


def test_functions_of_python_are_there(render: Any) -> None:
    assert render("{{ sorted(set([2, 1])) }} {{ len('abc') }} {{ isinstance(1, int) }}") == "[1, 2] 3 True"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for name, text in {"a/1.in": "a1", "b/1.in": "b1", "b/c/1.in": "bc1", "secret.in": "no"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{{% macro f() %}}{text}{{% endmacro %}}")
    return tmp_path


@pytest.mark.parametrize(
    ("imports", "delimiter", "names"),
    [
        ("rawfile a1 a/1.in\nrawfile b1 b/1.in\nfile bc1 x:file", "/", ("a1", "b1", "bc1")),
        ("rawfolder da a\nfolder db x:folder", "/", ("da/1.in", "db/1.in", "db/c/1.in")),
        ("folder da a\nfolder db b", ":", ("da:1.in", "db:1.in", "db:c:1.in")),
    ],
)
def test_each_kind_of_import(render: Any, library: Path, imports: str, delimiter: str, names: tuple[str, ...]) -> None:
    text = "".join(f"{{% import '{name}' as m %}}{{{{ m.f() }}}} " for name in names)
    sections = {"x": {"file": str(library / "b/c/1.in"), "folder": str(library / "b")}}
    assert render(text, sections, import_list=imports, import_delimiter=delimiter) == "a1 b1 bc1 "


@pytest.mark.parametrize("name", ["db/../secret.in", "db//etc/passwd", "other", "db", "db/"])
def test_nothing_outside_of_a_folder_is_imported(render: Any, library: Path, name: str) -> None:
    with pytest.raises(AllotmentError, match=r"\[part\] inline, line 1: |import-list: "):
        render(f"{{% import '{name}' as m %}}", import_list="rawfolder db b")


def test_extensions_are_loaded(render: Any) -> None:
    text = "{% set x = [] %}{% do x.append(1) %}{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}{{ x }}"
    assert render(text, extensions="jinja2.ext.do jinja2.ext.loopcontrols\n jinja2.ext.with_") == "01[1]"
    with pytest.raises(AllotmentError, match=r"\[part\] extensions: jinja2.ext.dont can't be imported\. Correct it"):
        render("x", extensions="jinja2.ext.dont")


def test_once_renders_while_the_marker_is_missing(make_recipe: Make, tmp_path: Path) -> None:
    def run(text: str, once: str) -> list[Path]:
        recipe = make_recipe(template.Recipe, {"inline": text, "output": "o", "once": once})
        return list(recipe.install())

    assert run("first", "flag") == []
    (tmp_path / "o").write_text("changed by hand")
    assert run("second", "flag") == []
    assert (tmp_path / "o").read_text() == "changed by hand"
    (tmp_path / "flag").unlink()
    assert run("third", "flag") == []
    assert (tmp_path / "o").read_text() == "third"
    assert run("fourth", "o") == [], "the output may be its own marker"
    assert (tmp_path / "o").read_text() == "third"


def test_what_is_rendered_once_outlives_its_section(partition: Any) -> None:
    profile = "[buildout]\nparts = t\n[t]\nrecipe = allotment.recipes:template.jinja2\ninline = x\noutput = data\nonce = data\n"
    assert partition.run(profile).error == ""
    assert partition.run("[buildout]\nparts =\n").error == ""
    assert partition.text("data") == "x"


def test_a_section_that_is_to_be_rendered_once_from_now_on_loses_nothing(partition: Any) -> None:
    profile = "[buildout]\nparts = t\n[t]\nrecipe = allotment.recipes:template.jinja2\ninline = x\noutput = data\n"
    for once in ("", "once = data\n", "once = data\n"):
        assert partition.run(profile + once).error == ""
        assert partition.text("data") == "x"


def test_update_decides_about_the_second_run(make_recipe: Make, tmp_path: Path) -> None:
    for update, text in (("true", "2"), ("false", "1")):
        recipe = make_recipe(
            template.Recipe, {"inline": "{{ t.f }}", "output": "o", "context": "import t json", "update": update}
        )
        recipe.context = {"t": {"f": "1"}}
        assert recipe.install() == [tmp_path / "o"]
        recipe.context = {"t": {"f": "2"}}
        assert recipe.update() == [tmp_path / "o"]
        assert (tmp_path / "o").read_text() == text


def test_a_template_that_another_section_writes(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = t
        [source]
        recipe = allotment.recipes:template
        inline = {{ 'rendered ' ~ x }}
        output = etc/t.j2
        [t]
        recipe = allotment.recipes:template.jinja2
        url = ${source:output}
        output = etc/t
        context = raw x VALUE
        """
    for value in ("one", "two"):
        assert partition.run(profile.replace("VALUE", value)).error == ""
        assert partition.text("etc/t") == f"rendered {value}"


@pytest.mark.parametrize("option", ["md5sum", "sha256sum"])
def test_the_template_is_checked(make_recipe: Make, tmp_path: Path, option: str) -> None:
    (tmp_path / "t").write_text("x")
    right = hashlib.new(option.removesuffix("sum"), b"x").hexdigest()
    make_recipe(template.Recipe, {"output": "o", "url": "t", option: right}).install()
    with pytest.raises(AllotmentError, match=rf"\[part\] {option}: of t is {right}, not 00\. Correct it"):
        make_recipe(template.Recipe, {"output": "o", "url": "t", option: "00"}).install()


def test_another_encoding(make_recipe: Make, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes("ä {{ x }}".encode("latin-1"))
    options = {"output": "o", "url": "t", "context": "raw x ö", "encoding": "latin-1"}
    make_recipe(template.Recipe, options).install()
    assert (tmp_path / "o").read_bytes() == "ä ö".encode("latin-1")
    with pytest.raises(AllotmentError, match=r"\[part\] url: t can't be read: it is not UTF-8 text"):
        make_recipe(template.Recipe, {**options, "encoding": "utf-8"}).install()
    with pytest.raises(AllotmentError, match=r"\[part\] encoding: '€' can't be written in latin-1\. Write utf-8"):
        make_recipe(template.Recipe, {**options, "context": "raw x €"}).install()
    with pytest.raises(AllotmentError, match=r"\[part\] encoding: unknown encoding: latin-x"):
        make_recipe(template.Recipe, {**options, "encoding": "latin-x"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n{% if %}\n", "[part] inline, line 2: Expected an expression"),
        ("a\n\n{{ nothing }}", "[part] inline, line 3: 'nothing' is undefined. Correct the template or its context."),
        ("{{ 1 / 0 }}", "[part] inline, line 1: ZeroDivisionError: division by zero"),
        ("a\n{{ assert(1 > 2, 'too small') }}", "[part] inline, line 2: AssertionError: too small"),
        ("{{ assert(1) }}{{ dumps(range) }}", "[part] inline, line 1: TypeError: "),
        ("{% import 'lib' as lib %}\n{{ lib.f() }}", "/lib.j2, line 2: 'x' is undefined."),
        ("{% import 'bad' as bad %}", "/bad.j2, line 3: Expected an expression"),
        ("{% import 'none' as m %}", "none.j2 can't be read: No such file or directory."),
    ],
)  # fmt: skip
def test_a_mistake_in_a_template_is_named_with_its_line(
    make_recipe: Make, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "lib.j2").write_text("{% macro f() %}\n{{ x }}{% endmacro %}")
    (tmp_path / "bad.j2").write_text("\n\n{% if %}")
    imports = "rawfile lib lib.j2\nrawfile bad bad.j2\nrawfile none none.j2"
    recipe = make_recipe(template.Recipe, {"inline": text, "output": "o", "import-list": imports})
    with pytest.raises(AllotmentError) as caught:
        recipe.install()
    assert message in str(caught.value)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": "kye a b:c"}, "[part] context: 'kye a b:c' has the unknown kind 'kye'. Did you mean 'key'?"),
        ({"context": "key a b"}, "[part] context: a: 'b' is not 'section:option'. Correct the line."),
        ({"context": "key a buildout:directry"}, "[part] context: [buildout] has no option 'directry'. Did you mean 'directory'?"),
        ({"context": "json a {"}, "[part] context: a: Expecting property name"),
        ({"context": "json a " + "[" * 100000}, "[part] context: a: maximum recursion depth exceeded"),
        ({"encoding": "rot13"}, "[part] encoding: 'rot13' is not a text encoding"),
        ({"encoding": "a\0b"}, "[part] encoding: embedded null character. Write utf-8."),
        ({"output": "a\0b"}, "[part] output: holds a NUL character. Take it out."),
        ({"context": "import a no_such_module"}, "[part] context: a: No module named 'no_such_module'."),
        ({"context": "alone"}, "[part] context: 'alone' is not 'kind name expression'."),
        ({"import-list": "rawfile x"}, "[part] import-list: 'rawfile x' is not one of file, rawfile, folder, rawfolder, a name and a path. Write it like: rawfile lib lib.j2."),
        ({"import-list": "fiel a b"}, "[part] import-list: 'fiel a b' is not one of"),
        ({"url": "b"}, "[part] url, inline: url and inline can't go together. Give one of them."),
        ({"mode": "rw"}, "[part] mode: 'rw' is not an octal number. Write it like 0644."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make_recipe: Make, options: dict[str, str], message: str) -> None:
    with pytest.raises(AllotmentError, match=re.escape(message)) as caught:
        make_recipe(template.Recipe, {"output": "o", "inline": "x", **options})
    assert any(base.__module__.startswith("zc.buildout") for base in type(caught.value).__mro__), (
        "a UserError of buildout"
    )


def test_a_template_that_is_missing_is_named(make_recipe: Make, tmp_path: Path) -> None:
    recipe = make_recipe(template.Recipe, {"output": "o", "url": "nothing.j2"})
    with pytest.raises(
        AllotmentError, match=re.escape(f"[part] url: {tmp_path}/nothing.j2 can't be read: No such file")
    ):
        recipe.install()


def test_a_script_with_a_secret_is_private_and_executable(partition: Any) -> None:
    partition.parameters = {"password": Secret("pl4nted"), "deep": {"list": [Secret("pl4nted2")]}}
    profile = """\
        [buildout]
        parts = t
        [slap]
        recipe = allotment.recipes:slapconfiguration
        [t]
        recipe = allotment.recipes:template.jinja2
        inline =
          #!/bin/sh
          echo {{ p }} {{ d.list[0] }}
        output = bin/t
        context =
          key p slap:configuration.password
          jsonkey d slap:configuration.deep
        """
    assert partition.run(profile).error == ""
    assert partition.text("bin/t") == "#!/bin/sh\necho pl4nted pl4nted2"
    assert stat.S_IMODE((partition.folder / "bin/t").stat().st_mode) == 0o700
    assert "pl4nted" not in partition.text(".installed.cfg")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_a_list_of_variables_is_read_or_refused(make_recipe: Make, text: str) -> None:
    for option in ("context", "import-list"):
        with contextlib.suppress(AllotmentError):
            make_recipe(template.Recipe, {"inline": "", "output": "o", option: text})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Zs"]), min_size=1))
def test_a_raw_value_comes_out_as_it_went_in(make_recipe: Make, tmp_path: Path, value: str) -> None:
    make_recipe(template.Recipe, {"inline": "{{ x }}", "output": "o", "context": f"raw x {value}"}).install()
    assert (tmp_path / "o").read_text() == value


def test_a_template_that_can_not_be_fetched_is_named_with_its_section(release: Any) -> None:
    section = (
        f"recipe = allotment.recipes:template.jinja2\nurl = http://127.0.0.1:9/t\nsha256sum = {'0' * 64}\noutput = o\n"
    )
    result = release.build(f"[buildout]\nparts = t\n[t]\n{section}")
    assert result.error.startswith(f"[t] url: t (sha256 {'0' * 64}) can't be had:")
    assert result.cause == "machine"
