# SPDX-License-Identifier: Apache-2.0
"""One test for each internal of zc.buildout that the driver relies on: when upstream changes, the name says what."""

import inspect
import io
import re
import subprocess
import sys
from typing import Any

import pytest
import zc.buildout
import zc.buildout.buildout as upstream
import zc.buildout.configparser


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def source(function: Any) -> str:
    return inspect.getsource(function)


def test_buildout_is_made_from_file_options_and_use_user_defaults() -> None:
    assert parameters(upstream.Buildout.__init__)[:4] == ["self", "config_file", "cloptions", "use_user_defaults"]


def test_buildout_makes_sections_with_its_class_attribute_options() -> None:
    assert upstream.Buildout.Options is upstream.Options
    assert "self.Options(self, section, data)" in source(upstream.Buildout.__getitem__)


def test_buildout_keeps_raw_and_made_sections_apart() -> None:
    text = source(upstream.Buildout.__getitem__)
    assert "self._data[section]" in text
    assert "self._raw[section]" in text
    assert "options._initialize()" in text


def test_missing_section_and_option_have_the_arguments_that_messages_are_made_from() -> None:
    assert upstream.MissingSection("name").args == ("name",)
    assert 'MissingOption("Referenced option does not exist:",\n' in source(upstream.Options._sub)
    for error in (upstream.MissingSection, upstream.MissingOption):
        assert issubclass(error, zc.buildout.UserError)


def test_options_load_their_recipe_in_initialize_and_note_the_part_after_it() -> None:
    text = source(upstream.Options._initialize)
    assert text.index("self.initialize()") < text.index("self.buildout._parts.append(name)")


def test_options_extend_macros_in_do_extend_raw() -> None:
    assert parameters(upstream.Options._do_extend_raw) == ["self", "name", "data", "doing"]


def test_options_keep_raw_and_final_values_apart() -> None:
    assert parameters(upstream.Options.__init__) == ["self", "buildout", "section", "data"]
    assert "self._raw" in source(upstream.Options.get)


def test_options_call_recipes_in_the_folder_of_the_run() -> None:
    assert parameters(upstream.Options._call) == ["self", "f"]


def test_profiles_are_read_and_merged_by_two_names_of_the_module() -> None:
    text = " ".join(source(upstream.Buildout.__init__).split())
    assert parameters(upstream._open)[:2] == ["base", "filename"]
    assert text.count("cfg_data, _ = _open( ") == 2
    assert "_open( os.path.dirname(config_file), config_file, [], download_options," in text
    assert "_open( os.path.dirname(extends), os.path.basename(extends), [], download_options," in text
    assert text.count("data = _update(data, cfg_data)") == 2
    assert "data = _update(data, cloptions)" in text


def test_the_parser_tells_options_and_sections_by_two_expressions() -> None:
    assert upstream.zc.buildout.configparser.option_start("a += b\n").groupdict() == {"name": "a +", "value": " b"}
    header = upstream.zc.buildout.configparser.section_header("[a: b ] # c\n")
    assert header.groupdict() == {"head": "[", "name": "a", "expression": " b ", "tail": "] # c"}
    assert zc.buildout.configparser.leading_blank_lines.sub("", "\n \na") == "a"


def test_conditions_know_what_upstream_defines() -> None:
    assert {"python3", "linux", "cpython", "bits64"} <= {
        name for name, value in upstream._default_globals().items() if isinstance(value, bool)
    }


def test_without_a_file_profiles_come_from_the_option_extends_alone() -> None:
    text = source(upstream.Buildout.__init__)
    assert "if config_file and not _isurl(config_file):" in text
    assert "cl_extends = cloptions['buildout'].pop('extends', None)" in text
    assert "for extends in cl_extends.value.split():" in text


def test_a_section_key_is_a_value_and_a_history_whose_items_never_change() -> None:
    key = upstream.SectionKey("value", "source")
    assert set(vars(key)) == {"value", "history"}
    items = source(upstream.HistoryItem)
    assert [line.strip() for line in items.splitlines() if line.strip().startswith("self.") and " = " in line] == [
        "self.operation = operation",
        "self.value = value",
        "self.source = source",
    ]


def test_what_was_read_is_copied_by_the_global_copy_and_only_deeply() -> None:
    text = source(upstream)
    assert "self._annotated = copy.deepcopy(data)" in source(upstream.Buildout.__init__)
    assert set(re.findall(r"\bcopy\.(\w+)", text)) == {"deepcopy"}


def test_the_record_of_a_part_is_a_copy_of_its_options() -> None:
    assert "saved_options = self[part].copy()" in source(upstream.Buildout.install)
    body = " ".join(source(upstream.Options.copy).split())
    assert body.endswith(
        "result = copy.deepcopy(self._raw) result.update(self._cooked) result.update(self._data) return result"
    )


def test_errors_of_the_parser_have_one_base() -> None:
    with pytest.raises(zc.buildout.configparser.Error):
        zc.buildout.configparser.parse(io.StringIO("nonsense\n"), "name")


def test_install_is_made_of_the_steps_that_are_overridden() -> None:
    text = source(upstream.Buildout.install)
    steps = (
        "_update_sys_path",
        "_setup_directories",
        "_develop",
        "_read_installed_part_options",
        "_compute_part_signatures",
        "_uninstall_part",
        "_uninstall",
        "_update_installed",
        "_save_installed_options",
    )
    for step in steps:
        assert f"self.{step}(" in text, step
    assert "saved_options['__buildout_installed__'" in text
    assert "installed_part_options['buildout'].get(\n                'installed_develop_eggs', '')" in text
    assert "if installed_develop_eggs:" in text, "this keeps an empty list of parts from being removed"
    assert "uninstall_missing = False" in text, "named parts uninstall nothing else"


def test_the_signature_is_taken_out_of_the_options_of_each_part() -> None:
    assert "self[part].pop('__buildout_signature__')" in source(upstream.Buildout.install)


def test_named_parts_do_not_add_the_parts_they_refer_to() -> None:
    assert "if not install_args:\n            install_parts = self._parts" in source(upstream.Buildout.install)


def test_the_command_has_its_profile_and_options_in_variables_of_main() -> None:
    assert {"config_file", "options", "use_user_defaults"} <= set(upstream.main.__code__.co_varnames)
    assert "getattr(buildout, command)(args)" in source(upstream.main)


def test_extensions_are_called_before_any_part_is_made_and_told_when_all_are() -> None:
    text = source(upstream.Buildout.install)
    assert text.index("self._load_extensions()") < text.index("self._setup_directories()")
    assert text.rstrip().endswith("self._unload_extensions()")
    assert "ep.load()(self)" in source(upstream.Buildout._load_extensions)


def test_the_folder_of_the_profile_is_the_first_that_is_known_of_the_directory() -> None:
    text = " ".join(source(upstream.Buildout.__init__).split())
    assert "SectionKey( os.path.dirname(config_file), 'COMPUTED_VALUE')" in text
    assert "self._log_level = level" in source(upstream.Buildout._setup_logging)


def test_uninstall_takes_lines_and_paths_from_the_folder() -> None:
    assert parameters(upstream.Buildout._uninstall) == ["self", "installed"]
    assert parameters(upstream.Buildout._buildout_path) == ["self", "name"]


def test_an_offline_run_downloads_no_profile() -> None:
    from zc.buildout.download import Download

    with pytest.raises(zc.buildout.UserError, match="offline mode"):
        Download({"offline": "true", "directory": "/"}).download("http://127.0.0.1:9/x")


def test_importing_buildout_first_warns_of_nothing() -> None:
    code = "import zc.buildout.buildout"
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
