"""Names of hosts: which are fully-qualified domains that other networks may know."""

import pytest

from worker.domain.hosts import is_domain


@pytest.mark.parametrize("name", ["mail.product.example", "MAIL.Product.Example.", "почта.example", "a.b.c.d.example"])
def test_a_public_name_is_a_domain(name: str) -> None:
    assert is_domain(name)


@pytest.mark.parametrize(
    "name",
    [
        "25aea30808b2",
        "localhost",
        "sendas-7d9f",
        "localhost.localdomain",
        "sendas-0.sendas.default.svc.cluster.local",
        "host.internal",
        "my_host.example",
        "203.0.113.5",
        "::1",
        "-x.example",
        "a..example",
        "",
        ".",
    ],
)
def test_the_name_of_a_container_or_a_local_network_is_none(name: str) -> None:
    """If a worker would give such a name in EHLO, then its start warns of it."""
    assert not is_domain(name)
