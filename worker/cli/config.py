"""`sendas config`: validates the configuration."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from worker.adapters.snapshot.audit import Audit, audit_document
from worker.cli.common import print_json, print_line
from worker.cli.snapshots import snapshot_document
from worker.domain.snapshot.lint import Allowed, Finding, Severity
from worker.errors import ConfigurationError, InvalidSnapshot
from worker.settings import Settings, load_settings

group = App(name="config", help="Is the configuration as it should be?")

MAX_SHOWN = 100_000
"""Limit on problems and on advice: bounds memory when everything in a document is wrong."""


@group.command
def check(
    snapshot: Path | None = None, *, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False
) -> int:
    """Say what is wrong with a configuration snapshot, by account, mailbox and field, and what would be better.

    Accounts that are not valid are left out by the worker, and their letters wait; other problems keep one mailbox
    from working; advice changes nothing. No secret is opened, and no server is connected to (`sendas mailbox check`
    does that). These settings count: SENDAS_ALLOW_PLAINTEXT, SENDAS_EGRESS_ALLOW, SENDAS_EGRESS_DENY,
    SENDAS_INTERNAL_ZONES, SENDAS_RELAY_ALLOW, SENDAS_SECRET_ENV_PREFIX, SENDAS_SECRET_REFERENCE_ACCOUNTS,
    SENDAS_MAILBOX_CONNECTIONS_MAX.

    Parameters
    ----------
    snapshot
        A configuration snapshot (JSON); the one that SENDAS_SNAPSHOT_URL names when it is left out.
    as_json
        Print JSON alone.
    """
    found: dict[Severity, list[Finding]] = {severity: [] for severity in Severity}

    def take(finding: Finding) -> None:
        if len(found[finding.severity]) < MAX_SHOWN:
            found[finding.severity].append(finding)

    try:
        allowed = _allowed(load_settings())
        with snapshot_document(snapshot) as document:
            audit = audit_document(document.path, allowed, take, document.name)
    except InvalidSnapshot as error:
        raise ConfigurationError(str(error)) from None
    if as_json:
        print_json(_document(audit, found))
    else:
        _show(audit, found)
    return 1 if found[Severity.PROBLEM] else 0


def _allowed(settings: Settings) -> Allowed:
    return Allowed(
        settings.allow_plaintext,
        settings.egress,
        settings.secret_env_prefix,
        settings.reference_accounts,
        settings.relay_egress,
        settings.mailbox_connections_max,
    )


def _document(audit: Audit, found: dict[Severity, list[Finding]]) -> dict[str, object]:
    return {
        "version": audit.version,
        "accounts": audit.accounts,
        "left_out": audit.left_out,
        "problems_total": audit.totals[Severity.PROBLEM],
        "advice_total": audit.totals[Severity.ADVICE],
        "problems": [_row(finding) for finding in found[Severity.PROBLEM]],
        "advice": [_row(finding) for finding in found[Severity.ADVICE]],
    }


def _row(finding: Finding) -> dict[str, object]:
    return {
        "account_id": finding.account_id,
        "mailbox_id": finding.mailbox_id,
        "path": finding.path,
        "message": finding.message,
        "leaves_account_out": finding.is_fatal,
    }


def _show(audit: Audit, found: dict[Severity, list[Finding]]) -> None:
    for severity, findings in found.items():
        for finding in findings:
            print_line(f"{severity.value}: {finding}")
        if (more := audit.totals[severity] - len(findings)) > 0:
            print_line(f"{severity.value}: and {more} more")
    print_line(f"version {audit.version}: {audit.accounts} accounts, {audit.left_out} left out")
