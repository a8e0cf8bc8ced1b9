"""shopctl release: how releases stand, and what people ask for."""

import difflib
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta

from shopset.cli import exits
from shopset.cli.planning import report, show_actions
from shopset.cli.printing import Output, Printer, local, rfc3339, rows_as_dicts
from shopset.cli.releases import describer, earliest, forecast, release_table
from shopset.cli.settings import Settings, who
from shopset.cli.unseen import is_whole, observe, tell_unseen
from shopset.cli.unseen import plan as plan_releases
from shopset.cli.wiring import Workplace, open_workplace
from shopset.core.release.actions import Identity
from shopset.core.release.commands import script
from shopset.core.release.ledgers import BRANCH
from shopset.core.release.observed import BuildOf, ComponentsOf, Observed, Repository
from shopset.core.release.requests import (
    Adopt,
    Approve,
    Hold,
    Hotfix,
    Request,
    RequestRefusedError,
    Resume,
    Retry,
    RollBack,
    resolve_revision,
    tier_named,
)
from shopset.core.release.revisions import SHORT, Revision
from shopset.engine import Watching
from shopset.engine.rounds import pause_after_race
from shopset.manifests import split_objects


def status(settings: Settings, output: Output) -> int:
    """Show which revision is where, and what comes next."""
    workplace = open_workplace(settings)
    made, observed = plan_releases(workplace)
    printer = Printer(colour=settings.colour)
    heads, rows = release_table(workplace.fleet, made, observed, observed.now, describer(workplace))
    if output in (Output.JSON, Output.YAML):
        printer.data(rows_as_dicts(heads, rows), output)
        return tell_unseen(observed)
    if not rows:
        offered = "nothing is offered" if is_whole(observed) else "what is offered cannot be seen"
        printer.line(f"Nothing was released yet, and {offered}.")
    else:
        printer.table(heads, rows)
    lines = list(forecast(workplace.fleet, made, observed))
    for number, line in enumerate(lines):
        printer.line(f"{'Next: ' if number == 0 else '      '}{line}")
    return tell_unseen(observed)


def explain(settings: Settings, revision: str, tier: str | None, output: Output) -> int:
    """Say why a tier has a revision, or why not, and when it may."""
    workplace = open_workplace(settings)
    made, observed = plan_releases(workplace)
    found = resolve_revision(workplace.fleet, observed, revision)
    tiers = workplace.fleet.tiers if tier is None else [tier_named(workplace.fleet, tier)]
    printer = Printer(colour=settings.colour)
    told = {
        each.name: _explain_one(workplace, made.outlooks[each.name].pinned, observed, each.name, found)
        for each in tiers
    }
    if output in (Output.JSON, Output.YAML):
        printer.data({"revision": found.id, "tiers": told}, output)
        return tell_unseen(observed)
    for lines in told.values():
        for line in lines:
            printer.line(line)
    return tell_unseen(observed)


def _explain_one(
    workplace: Workplace, pinned: Revision | None, observed: Observed, name: str, revision: Revision
) -> list[str]:
    if pinned == revision:
        pin = observed.ledger.pinned(name)
        since = f" since {local(pin.at)}: {pin.reason}" if pin and pin.revision == revision.id else ""
        return [f"{name} has {revision.short}{since}"]
    checks, _ = workplace.engine.explain(workplace.fleet.tier(name), revision)
    failing = [check for check in checks if not check.passed]
    if not failing:
        return [
            f"{name} does not have {revision.short}, and every rule lets it in: shopctl plan shows what comes first"
        ]
    lines = [f"{name} does not have {revision.short} because"]
    lines += [f"  - {check.detail}" + (f" (shopctl: {check.advice})" if check.advice else "") for check in failing]
    moment = earliest(checks)
    if moment is not None:
        lines.append(f"Earliest: {local(moment)}, given that nothing else comes in between.")
    return lines


def history(settings: Settings, tier: str | None, output: Output, limit: int) -> int:
    """Show the audit trail of the ledger, newest first."""
    workplace = open_workplace(settings)
    observed = observe(workplace)
    head = observed.repositories[Repository.SYSTEM].branches.get(BRANCH)
    printer = Printer(colour=settings.colour)
    log = list(workplace.remotes.log(Repository.SYSTEM, head)) if head else []
    entries = [each for each in log if tier is None or f" {tier}" in f" {each.subject}"][:limit]
    if output in (Output.JSON, Output.YAML):
        items = [
            {"commit": each.commit, "at": rfc3339(each.at), "by": str(each.author), "what": each.subject}
            for each in entries
        ]
        printer.data(items, output)
        return exits.OK
    if entries:
        printer.table(
            ("COMMIT", "WHEN", "BY", "WHAT"),
            [(each.commit[:SHORT], local(each.at), each.author.name, each.subject) for each in entries],
        )
    printer.line(f"By hand: git log -p {BRANCH}, in shopset-system")
    return exits.OK


def diff(settings: Settings, revision: str | None, tier: str | None, against: str | None, output: Output) -> int:
    """Show the manifests that a revision would change, rendered, ShopSets with the same change together."""
    workplace = open_workplace(settings)
    made, observed = plan_releases(workplace)
    printer = Printer(colour=settings.colour)
    groups: dict[str, list[str]] = defaultdict(list)
    for each in workplace.fleet.tiers:
        outlook = made.outlooks[each.name]
        old = resolve_revision(workplace.fleet, observed, against) if against else outlook.pinned
        new = resolve_revision(workplace.fleet, observed, revision) if revision else outlook.candidate
        if tier in (None, each.name) and new is not None and new != old:
            for shopset in workplace.fleet.members(each.name):
                before = _objects(workplace, old, shopset.name) if old else {}
                groups[_changes(before, _objects(workplace, new, shopset.name), shopset.name)].append(shopset.name)
    if output is Output.NAME:
        for text, names in groups.items():
            for name in names:
                for line in text.splitlines():
                    if line.startswith("=== "):
                        printer.line(f"{name}/{line.removeprefix('=== ').split(' ')[0]}")
        return tell_unseen(observed)
    for text, names in groups.items():
        count = sum(line.startswith("=== ") for line in text.splitlines())
        printer.line(
            f"{', '.join(names)}: {count} object{'s change' if count > 1 else ' changes'}"
            if count
            else f"{', '.join(names)}: nothing changes",
            "bold",
        )
        for line in text.splitlines():
            printer.line(line, {"+": "green", "-": "red", "=": "bold"}.get(line[:1], ""))
    if not groups and is_whole(observed):
        printer.line("No tier would change.")
    return tell_unseen(observed)


def _objects(workplace: Workplace, revision: Revision, shopset: str) -> Mapping[str, str]:
    components = workplace.remotes.answer(ComponentsOf(revision.apps))
    fleet, found = workplace.fleet, workplace.fleet.shopsets[shopset]
    renderer = workplace.engine.renderers.versions[revision.renderer]
    names = components.names if not isinstance(components, bool | str) else ()
    overlay = renderer.overlay(fleet, fleet.tier(found.spec.tier), found, names)
    text, problem = workplace.builder.manifests(BuildOf(revision.apps, revision.configuration, overlay))
    if problem:
        raise RequestRefusedError(f"{revision.short} cannot be built for {shopset}: {problem}")
    return split_objects(text)


def _changes(before: Mapping[str, str], after: Mapping[str, str], shopset: str) -> str:
    """Return a unified diff of each object, without what tells one ShopSet from another."""
    lines: list[str] = []
    for name in sorted({*before, *after}):
        old, new = (side.get(name, "").replace(shopset, "<shopset>").splitlines() for side in (before, after))
        if old != new:
            verb = "is new" if name not in before else "goes" if name not in after else "changes"
            lines.append(f"=== {'/'.join(name.split('/')[1:])} {verb}")
            lines += [
                line for line in difflib.unified_diff(old, new, lineterm="", n=3) if not line.startswith(("---", "+++"))
            ]
    return "\n".join(lines)


# -- what people ask for


def approve(
    settings: Settings, tier: str, revision: str, reason: str, *, bake: timedelta | None, expedite: bool, dry_run: bool
) -> int:
    """Approve a revision's entry to a tier."""
    request = Approve(tier=tier, revision=revision, reason=reason, bake=bake, expedite=expedite)
    return _ask(settings, request, f"{revision} was approved for {tier} by you already", dry_run=dry_run)


def hold(settings: Settings, tier: str, reason: str, *, dry_run: bool) -> int:
    """Let nothing enter a tier."""
    return _ask(settings, Hold(tier=tier, reason=reason), f"{tier} is held by you for that already", dry_run=dry_run)


def resume(settings: Settings, tier: str, name: str | None, reason: str, *, dry_run: bool) -> int:
    """Lift the holds of a tier."""
    return _ask(settings, Resume(tier=tier, name=name, reason=reason), f"{tier} is not held", dry_run=dry_run)


def rollback(settings: Settings, tier: str, to: str | None, reason: str, *, dry_run: bool) -> int:
    """Take a tier back to a revision that it verified."""
    return _ask(
        settings, RollBack(tier=tier, to=to, reason=reason), f"{tier} has that revision already", dry_run=dry_run
    )


def retry(settings: Settings, tier: str, revision: str | None, reason: str, *, dry_run: bool) -> int:
    """Lift a rejection."""
    return _ask(
        settings, Retry(tier=tier, revision=revision, reason=reason), f"{tier} did not reject it", dry_run=dry_run
    )


def adopt(settings: Settings, tier: str, reason: str, *, dry_run: bool) -> int:
    """Take over what runs on a tier today."""
    return _ask(settings, Adopt(tier=tier, reason=reason), f"{tier} was adopted already", dry_run=dry_run)


def hotfix(
    settings: Settings,
    tier: str,
    reason: str,
    *,
    apps: str | None,
    configuration: str | None,
    bake: timedelta | None,
    discard: bool,
    dry_run: bool,
) -> int:
    """Bring a fix to the lowest tier, from where it climbs ahead of pending work."""
    workplace = open_workplace(settings)
    observed = observe(workplace)
    request = Hotfix(
        tier=tier,
        reason=reason,
        apps=_commit(workplace, observed, Repository.APPS, apps),
        configuration=_commit(workplace, observed, Repository.CONFIGURATION, configuration),
        bake=bake,
        discard=discard,
    )
    _list_overtaken(workplace, observed, request, Printer(colour=settings.colour))
    return _ask(settings, request, "the fix is on its way already: shopctl release status", dry_run=dry_run)


def _commit(workplace: Workplace, observed: Observed, repository: Repository, given: str | None) -> str | None:
    """Return the commit that a branch or a commit id names."""
    if given is None:
        return None
    branches = observed.repositories[repository].branches
    commit = branches.get(given.removeprefix("refs/heads/"), given)
    if len(commit) != 40 or not workplace.remotes.has_commit(repository, commit):
        raise RequestRefusedError(
            f"{repository} has neither a branch nor a commit {given!r}: push the fix first, and give all 40 digits"
        )
    return commit


def _list_overtaken(workplace: Workplace, observed: Observed, request: Hotfix, printer: Printer) -> None:
    """Say which pending work a hotfix overtakes."""
    lowest, head = workplace.fleet.branch(workplace.fleet.tiers[0].name), observed.tiers.get(request.tier)
    pinned = head.revision if head else None
    pending = observed.repositories[Repository.APPS].branches.get(lowest)
    if pinned is None or pending is None:
        return
    overtaken = list(workplace.remotes.log(Repository.APPS, pending, without=request.apps or pinned.apps))
    if overtaken:
        printer.line(
            f"The fix overtakes {len(overtaken)} commits, which come back by a branch shopset/pending-… in shopset-apps:"
        )
        for each in overtaken:
            printer.line(f"  {each.commit[:SHORT]} {each.subject} ({each.author.name})")


def _ask(settings: Settings, request: Request, nothing: str, *, dry_run: bool) -> int:
    """Do what a request calls for, planning anew where somebody else was faster."""
    workplace = open_workplace(settings)
    printer = Printer(colour=settings.colour)
    author: Identity = Identity.parse(who(settings))
    acted, races = False, 0
    while True:
        made, _ = workplace.engine.respond(request, author)
        if not made.actions:
            if not acted:
                printer.line(f"Nothing to do: {nothing}.")
            return exits.OK
        if dry_run:
            show_actions(printer, made.actions)
            sys.stdout.write(script(made.actions, workplace.places))
            return exits.SOMETHING_TO_DO
        outcome = workplace.engine.act(made.actions)
        code = report(printer, outcome)
        if outcome.failures:
            return code
        races = pause_after_race(races, outcome.lost_race, Watching(time.sleep)) if outcome.lost_race else 0
        acted = acted or bool(outcome.done)
        # A hotfix takes two steps. Whatever else was done is done: a rollback asked for once more would go further back.
        if not outcome.lost_race and not isinstance(request, Hotfix):
            return exits.OK
