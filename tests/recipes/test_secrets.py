# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 (bad input and its message stand side by side, as a table)
"""Plant a secret, run everything, and look for it everywhere."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allotment.errors import AllotmentError
from allotment.messages.instance import ChildAnswer, InstanceState
from allotment.secret import Secret
from allotment_recipes.tokens import Tokens, load_key

PLANTED = 'pl4nted "secret" \\ $(x)'
PROFILE = """\
    [buildout]
    parts = settings service child publish promise text

    [slap]
    recipe = allotment.recipes:slapconfiguration

    [settings]
    recipe = allotment.recipes:template.jinja2
    inline = {{ configuration | tojson }}
    output = etc/settings.json
    context =
      jsonkey configuration slap:configuration

    [text]
    recipe = allotment.recipes:template.jinja2
    inline = {{ password }}|${slap:configuration.password}
    output = etc/text
    context = key password slap:configuration.password

    [service]
    recipe = allotment.recipes:wrapper
    command-line = serve etc/settings.json
    wrapper-path = etc/service/serve
    environment =
      PASSWORD=${slap:configuration.password}

    [child]
    recipe = allotment.recipes:request
    name = backend
    release = shop
    config-password = ${slap:configuration.password}

    [promise]
    recipe = allotment.recipes:promise
    promise = check_url_available
    config-url = http://127.0.0.9/?key=${slap:configuration.password}

    [publish]
    recipe = allotment.recipes:publish
    password = ${slap:configuration.password}
    url = http://user:${slap:configuration.password}@127.0.0.9/
    """


@pytest.fixture
def planted(partition: Any) -> Any:
    partition.parameters = {"password": Secret(PLANTED), "deep": {"key": Secret(PLANTED)}}
    assert partition.run(PROFILE).error == ""
    return partition


def spellings() -> list[bytes]:
    return [PLANTED.encode(), json.dumps(PLANTED)[1:-1].encode()]


def test_a_secret_is_only_where_it_is_used(planted: Any) -> None:
    holders = {
        path.relative_to(planted.folder).as_posix()
        for path in planted.folder.rglob("*")
        if path.is_file() and any(spelling in path.read_bytes() for spelling in spellings())
    }
    assert holders == {
        ".allotment/instance.json",
        ".allotment/requests.json",
        ".allotment/published.json",
        "etc/settings.json",
        "etc/text",
        "etc/service/serve",
        "etc/promise/promise.json",
    }


def test_what_holds_a_secret_is_private(planted: Any) -> None:
    for name in ("etc/settings.json", "etc/text", "etc/service/serve", "etc/promise/promise.json"):
        assert stat.S_IMODE((planted.folder / name).stat().st_mode) & 0o077 == 0, name


def test_a_secret_reaches_its_user_unchanged(planted: Any) -> None:
    assert json.loads(planted.text("etc/settings.json")) == {"password": PLANTED, "deep": {"key": PLANTED}}
    assert planted.text("etc/text") == f"{PLANTED}|{PLANTED}"
    assert planted.requests.requests[0].parameters["password"] == Secret(PLANTED)
    assert planted.published.values["password"] == Secret(PLANTED)
    assert planted.published.values["url"] == Secret(f"http://user:{PLANTED}@127.0.0.9/")


def test_a_shell_does_not_see_through_the_quotes(planted: Any) -> None:
    import subprocess

    script = planted.text("etc/service/serve").replace("exec serve", "exec printenv PASSWORD #")
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == PLANTED + "\n"


def test_a_secret_on_a_command_line_is_refused(partition: Any) -> None:
    partition.parameters = {"password": Secret(PLANTED)}
    result = partition.run(
        """\
        [buildout]
        parts = w
        [slap]
        recipe = allotment.recipes:slapconfiguration
        [w]
        recipe = allotment.recipes:wrapper
        command-line = serve --password ${slap:configuration.password}
        wrapper-path = bin/w
        """
    )
    assert result.error == "[w] command-line: holds a secret. Pass it in 'environment' or in a private file."


def test_an_error_text_does_not_show_a_secret(partition: Any) -> None:
    partition.parameters = {"password": Secret("sesame-street")}
    result = partition.run(
        """\
        [buildout]
        parts = t
        [slap]
        recipe = allotment.recipes:slapconfiguration
        [t]
        recipe = allotment.recipes:template.jinja2
        inline = {{ {}[password] }}
        output = etc/t
        context = key password slap:configuration.password
        """
    )
    assert result.outcome == "failed"
    assert "sesame-street" not in result.error + partition.log.read_text()


def test_a_secret_that_the_schema_marks_is_one(partition: Any) -> None:
    schema = {"properties": {"password": {"type": "string", "writeOnly": True}}}
    (partition.software / "schema.json").write_text(json.dumps(schema))
    partition.parameters = {"password": "sesame-street"}
    partition.run(
        f"[buildout]\nparts = s\n[s]\nrecipe = allotment.recipes:slapconfiguration\njsonschema = {partition.software}/schema.json\n"
    )
    assert "sesame-street" not in partition.text(".installed.cfg")


def test_a_changed_secret_of_a_child_changes_the_file(partition: Any) -> None:
    profile = """\
        [buildout]
        parts = t
        [c]
        recipe = allotment.recipes:request
        name = b
        release = shop
        return = key
        [t]
        recipe = allotment.recipes:template.jinja2
        inline = ${c:connection-key}
        output = etc/t
        """
    for value in ("first-secret", "second-secret"):
        partition.answers = {"b": ChildAnswer(InstanceState.STARTED, {"key": Secret(value)})}
        assert partition.run(profile).outcome == "done"
        assert partition.text("etc/t") == value


def test_a_tenant_can_not_forge_a_token(partition: Any) -> None:
    own = Tokens(b"guessed key").token(Secret(PLANTED))
    partition.parameters = {"password": Secret(PLANTED), "greeting": own}
    partition.run(
        PROFILE.replace("{{ password }}", "{{ greeting }}")
        .replace("key password", "key greeting")
        .replace("slap:configuration.password\n\n    [service]", "slap:configuration.greeting\n\n    [service]")
    )
    assert partition.text("etc/text").startswith(own)


def test_a_tenant_can_not_refer_to_an_option(partition: Any) -> None:
    partition.parameters = {"greeting": "${hidden:option}", "password": Secret(PLANTED)}
    profile = """\
        [buildout]
        parts = ours theirs publish
        [slap]
        recipe = allotment.recipes:slapconfiguration
        [hidden]
        option = ${slap:configuration.password}
        [plain]
        value = ${slap:configuration.greeting}
        [macro]
        inherited = <${plain:value}>
        [ours]
        <= macro
        recipe = allotment.recipes:template.jinja2
        inline = {{ value }} ${plain:value} ${:inherited}
        output = etc/ours
        context = key value slap:configuration.greeting
        [theirs]
        recipe = slapos.recipe.template:jinja2
        inline = ${slap:configuration.greeting} ${plain:value}
        output = etc/theirs
        [publish]
        recipe = allotment.recipes:publish
        direct = ${slap:configuration.greeting}
        indirect = ${plain:value}
        """
    assert partition.run(profile).error == ""
    text = "${hidden:option}"
    assert partition.text("etc/ours") == f"{text} {text} <{text}>"
    assert partition.text("etc/theirs") == f"{text} {text}"
    assert dict(partition.published.values) == {"direct": text, "indirect": text}


JSON_VALUES = st.recursive(
    st.text() | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.text(min_size=1), JSON_VALUES)
def test_tokens_give_back_what_they_hid(value: str, other: Any) -> None:
    tokens = Tokens(b"key")
    data = {"secret": Secret(value), "list": [Secret(value + "x"), other]}
    hidden = tokens.hide(data)
    assert "secret" in json.dumps(hidden)
    assert json.loads(tokens.reveal_in_json(json.dumps(hidden))) == {"secret": value, "list": [value + "x", other]}
    assert tokens.restore(hidden)["secret"] == Secret(value)
    assert tokens.reveal(f"<{hidden['secret']}>") == f"<{value}>"


@given(st.lists(st.text(min_size=1), max_size=3), st.text(), st.text())
def test_what_was_revealed_too_early_is_concealed_again(values: list[str], before: str, after: str) -> None:
    tokens = Tokens(b"key")
    hidden = [tokens.token(Secret(value)) for value in values]
    text = f"{before}{'|'.join(hidden)}{after}"
    concealed = tokens.conceal(tokens.reveal(text))
    assert tokens.reveal(concealed) == tokens.reveal(text)


def test_a_secret_that_occurs_in_tokens_does_no_harm() -> None:
    tokens = Tokens(b"key")
    for value in ("allotment-secret", "allotment", "a longer password than these"):
        tokens.token(Secret(value))
    text = "allotment a longer password than these allotment-secret"
    assert tokens.reveal(tokens.conceal(text)) == text


def test_short_values_are_not_looked_for() -> None:
    tokens = Tokens(b"key")
    token = tokens.token(Secret("password"))
    tokens.token(Secret("8080"))
    assert tokens.conceal("port 8080 password") == f"port 8080 {token}"


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 33, b"x" * 1000])
def test_a_key_that_is_not_whole_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    """With an empty key, which a loss of power may leave, anybody could tell which value a token stands for."""
    path = tmp_path / "tokens.key"
    path.write_bytes(damage)
    if len(damage) > 64:
        with pytest.raises(AllotmentError, match=r"tokens\.key is larger than"):
            load_key(path)
    else:
        assert len(load_key(path)) == 32
        assert load_key(path) == load_key(path)


def test_a_key_that_is_a_link_or_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(AllotmentError, match=f"{name} "):
            load_key(tmp_path / name)


def test_the_key_is_made_once_and_private(tmp_path: Any) -> None:
    path = tmp_path / "deep" / "key"
    assert load_key(path) == load_key(path)
    assert len(load_key(path)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
