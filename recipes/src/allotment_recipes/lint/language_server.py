# SPDX-License-Identifier: Apache-2.0
"""``allot lint --lsp``: the checks while one types, and what the recipes take; an editor is on its standard input.

Needs the extra ``allotment.recipes[lsp]``.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path

from allotment import __version__
from allotment.options import describe_options
from allotment_recipes import recipe_loading
from allotment_recipes.lint import release_checks
from allotment_recipes.lint.known_recipes import known_recipe, why_unknown
from allotment_recipes.lint.problem import Problem
from allotment_recipes.lint.profile_text import Section
from allotment_recipes.lint.view import View

_SECTION_BEFORE = re.compile(r"(?:\$\{|<=\s*)([-\w.]*)$")
_OPTION_BEFORE = re.compile(r"\$\{([-\w. ]*):([-\w.]*)$")
_RECIPE_BEFORE = re.compile(r"^recipe\s*=\s*([-\w.:]*)$")
_NAME_BEFORE = re.compile(r"^([-\w.]*)$")
_NAME = re.compile(r"^([^\s=]+?)\s*[-+]?=")


class ProfileServer(LanguageServer):
    """Holds what the editor has open; all answers come from that text and, for the other files, from the disk."""

    def __init__(self) -> None:
        super().__init__("allot-lint", __version__)

    def texts(self) -> dict[Path, str]:
        """Return what the editor holds, saved or not."""
        return {self.path(uri): document.source for uri, document in self.workspace.text_documents.items()}

    @staticmethod
    def path(uri: str) -> Path:
        """Return the file of a document."""
        return Path(to_fs_path(uri) or uri)

    def view(self, uri: str) -> View:
        """Return the profile of a document as it is typed."""
        return View(self.path(uri), {}, self.texts())

    def check(self, uri: str) -> None:
        """Tell the editor the problems of a document, and of the open ones of the same release."""
        texts = self.texts()
        path = self.path(uri)
        release = path.with_name("software.cfg")
        problems = release_checks.check(release if release in texts or release.is_file() else path, texts)
        for other in texts:
            if other == path or other.parent == path.parent:
                found = [_diagnostic(problem, texts[other]) for problem in problems if problem.path == other]
                address = uri if other == path else from_fs_path(str(other)) or ""
                self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(address, found))

    def section_at(self, view: View, line: int) -> Section | None:
        """Return the section that a line (from 1) of the document is in."""
        own = next((file for file in view.files if file.path == view.path), None)
        found = [section for section in own.sections if section.number <= line] if own is not None else []
        return found[-1] if found else None


def _diagnostic(problem: Problem, text: str) -> types.Diagnostic:
    lines = text.splitlines() or [""]
    number = min(max(problem.line - 1, 0), len(lines) - 1)
    line = lines[number]
    start = types.Position(number, len(line) - len(line.lstrip()))
    message = f"{problem.what.removesuffix('.')}.{f' {problem.fix}.' if problem.fix else ''}"
    end = types.Position(number, max(len(line.rstrip()), start.character))
    return types.Diagnostic(
        types.Range(start, end), message, types.DiagnosticSeverity.Warning, problem.rule, source="allot"
    )


def _names(view: View, section: Section | None, before: str) -> Iterator[tuple[str, str]]:
    """Yield what can stand at the end of ``before``, each with one line on it."""
    if found := _OPTION_BEFORE.search(before):
        owner = found[1].strip() or (section.name if section else "")
        yield from ((name, option.value) for name, option in view.options(owner).items() if name not in {"<", "recipe"})
    elif _SECTION_BEFORE.search(before):
        yield from ((name, view.value(name, "recipe").replace("\x1a", "")) for name in view.written)
    elif _RECIPE_BEFORE.match(before):
        yield from ((f"{owner.replace('-', '.')}:{name}", "") for owner, name in recipe_loading.installed())
    elif _NAME_BEFORE.match(before) and section is not None:
        yield from _options(view, section.name).items()


def _options(view: View, section: str) -> dict[str, str]:
    """Return what the section's recipe takes, with its documentation."""
    spec = view.options(section).get("recipe")
    if spec is None or why_unknown(spec.value) is not None:
        return {}
    recipe = known_recipe(spec.value)
    return {item.name: item.doc for item in describe_options(recipe.options)} if recipe.options is not None else {}


def create() -> ProfileServer:
    """Return a server that is not started."""
    server = ProfileServer()

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: types.DidOpenTextDocumentParams) -> None:
        server.check(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: types.DidChangeTextDocumentParams) -> None:
        server.check(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: types.DidSaveTextDocumentParams) -> None:
        server.check(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=["{", ":", "="]))
    def completed(params: types.CompletionParams) -> list[types.CompletionItem]:
        view = server.view(params.text_document.uri)
        document = server.workspace.get_text_document(params.text_document.uri)
        line = document.lines[params.position.line] if params.position.line < len(document.lines) else ""
        section = server.section_at(view, params.position.line + 1)
        names = _names(view, section, line[: params.position.character])
        return [types.CompletionItem(name, documentation=doc or None) for name, doc in sorted(set(names))]

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    def hovered(params: types.HoverParams) -> types.Hover | None:
        view = server.view(params.text_document.uri)
        document = server.workspace.get_text_document(params.text_document.uri)
        name = _NAME.match(document.lines[params.position.line]) if params.position.line < len(document.lines) else None
        section = server.section_at(view, params.position.line + 1)
        doc = _options(view, section.name).get(name[1]) if name and section else None
        return (
            types.Hover(types.MarkupContent(types.MarkupKind.PlainText, f"{name[1]}: {doc}")) if name and doc else None
        )

    return server


def serve() -> None:
    """Serve one editor until it goes away."""
    create().start_io()
