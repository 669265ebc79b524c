"""What administrators are advised to change in an account that is valid as it is."""

from collections.abc import Iterator

from worker.domain.providers import provider_of
from worker.domain.snapshot import Account, CompanyOwner, EmployeeOwner


def advice(account: Account) -> Iterator[str]:
    """One sentence for each thing that is better changed."""
    usable = [mailbox for mailbox in account.mailboxes if mailbox.active]
    company = [mailbox for mailbox in usable if isinstance(mailbox.owner, CompanyOwner)]
    if usable and not any(not mailbox.projects for mailbox in company):
        yield (
            "no active company mailbox without projects: in tasks of other projects, or of none, letters of employees "
            "without a mailbox of their own leave from internal addresses"
        )
    for mailbox in account.mailboxes:
        provider = provider_of(mailbox.smtp.host)
        if mailbox.service is not None and mailbox.service.provider != provider.name:
            yield (
                f"mailbox {mailbox.id}: service is for {mailbox.service.provider}, but {mailbox.smtp.host} belongs to "
                f"{provider.display_name}: it is ignored"
            )
    known = {employee.id for employee in account.employees}
    for mailbox in account.mailboxes:
        if isinstance(mailbox.owner, EmployeeOwner) and mailbox.owner.employee_id not in known:
            yield f"mailbox {mailbox.id} belongs to an employee that the account does not have: nobody can use it"
