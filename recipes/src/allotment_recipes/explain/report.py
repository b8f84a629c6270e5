# SPDX-License-Identifier: Apache-2.0
"""Plans and reasons as people read them: first what changed itself, then what follows."""

from collections.abc import Callable, Iterator, Sequence

from allotment_recipes.explain.differences import Difference
from allotment_recipes.explain.plan import Plan, PlannedPart

LinesOf = Callable[[Difference], list[str]]
_NAMES = 12  # of parts that are listed in one line
_PLAIN = ("new", "missing", "unfinished")  # what says of a part itself enough


def plan_lines(plan: Plan, lines_of: Callable[[str], LinesOf]) -> Iterator[str]:
    """Yield what becomes of each part and why; ``lines_of`` gives, for a part, how a file of it differs."""
    lasting = [cause for cause in plan.causes if not all(item.kind in _PLAIN for item in cause.why)]
    for cause in lasting:
        follow = ""
        if cause.followers:
            number = len(cause.followers)
            follow = f"; {number} {'part follows' if number == 1 else 'parts follow'}: {listed(cause.followers)}"
        yield f"{cause.part}: {'; '.join(map(str, cause.why))}{follow}"
        yield from detail_lines(cause.why, lines_of(cause.part))
    if lasting:
        yield ""
    work = [*plan.of("built"), *plan.of("fetched")]
    width = max((len(_named(part)) for part in work), default=0)
    for part in work:
        yield f"{part.action:<7}  {_named(part):<{width}}  {_expected(part):>7}  {short(part.why)}".rstrip()
    if plan.gone:
        yield f"the profile has no more: {listed(plan.gone)}"
    yield summary(plan)


def detail_lines(why: Sequence[Difference], lines_of: LinesOf) -> Iterator[str]:
    """Yield, indented, the lines of options and files that came and went; which ones, where it may be several."""
    for item in why:
        lines = lines_of(item)
        if len(why) > 1 and lines:
            yield f"  {item}:"
        yield from (f"{'    ' if len(why) > 1 else '  '}{line}" for line in lines)


def summary(plan: Plan) -> str:
    """Return how many parts become what, and how long it takes."""
    built = plan.of("built")
    text = f"{len(built)} built, {len(plan.of('fetched'))} fetched, {len(plan.of('reused'))} reused"
    if not built or (plan.unknown and not plan.seconds):
        return f"{text}; how long it takes is not known" if built else text
    text += f"; about {duration(plan.seconds)} with {plan.jobs} at a time"
    return f"{text}, and it is not known of {listed(plan.unknown)}" if plan.unknown else text


def short(why: Sequence[Difference]) -> str:
    """Return reasons in one line; of several that only follow, the parts."""
    texts = [str(item) for item in why if not item.follows]
    followed = [item.name for item in why if item.follows]
    if followed:
        texts.append(f"{listed(followed)} changed")
    return "; ".join(texts)


def listed(names: Sequence[str]) -> str:
    """Return names in one line."""
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


def duration(seconds: float) -> str:
    """Return seconds as people say them."""
    if seconds < 99.5:
        return f"{seconds:.0f} s" if seconds >= 1 or seconds == 0 else "1 s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{seconds / 3600:.1f} h"


def _named(part: PlannedPart) -> str:
    return f"{part.name} {part.version}".rstrip()


def _expected(part: PlannedPart) -> str:
    if part.action == "fetched":
        return ""
    return "?" if part.expected is None else f"~{duration(part.expected)}"
