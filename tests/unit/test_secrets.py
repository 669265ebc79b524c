"""Secrets: sealing and opening, and what may not be opened."""

import os
from pathlib import Path

import pytest
from nacl.public import PublicKey, SealedBox
from pydantic import SecretStr

from worker.adapters.auth.sealed_box import decode, encode
from worker.adapters.auth.secrets import SealingKeys, SecretStore, generate_key, load_sealing_keys, seal
from worker.domain.snapshot.model import EnvSecret, FileSecret, SealedSecret, Secret
from worker.domain.snapshot.secret_references import PLATFORM
from worker.errors import ConfigurationError, SecretUnavailable

CANARY = "hunter2-canary"


def key_file(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def key_pair(path: Path, name: str) -> tuple[SealingKeys, str]:
    private, public = generate_key(name)
    return load_sealing_keys(key_file(path / f"{name}.keys", private.get_secret_value())), public


def store(keys: SealingKeys | None = None, directory: Path | None = None, **environment: str) -> SecretStore:
    return SecretStore(keys or SealingKeys({}), environment, directory)


async def refusal(tested: SecretStore, secret: Secret, account_id: str | None = None) -> str:
    if account_id is None:
        account_id = "acme" if isinstance(secret, SealedSecret) else PLATFORM
    with pytest.raises(SecretUnavailable) as caught:
        await tested.open(secret, account_id)
    text = str(caught.value)
    assert CANARY not in text
    return text


class TestSealed:
    async def test_what_was_sealed_opens(self, tmp_path: Path) -> None:
        keys, public = key_pair(tmp_path, "k1")
        sealed = seal(SecretStr("пароль с пробелом"), public, account_id="acme")
        assert (await store(keys).open(SealedSecret(sealed=sealed), "acme")).get_secret_value() == "пароль с пробелом"

    async def test_two_keys_in_a_file_open_each_their_own(self, tmp_path: Path) -> None:
        """A key can be replaced while secrets sealed with the former one are still about."""
        (old_private, old_public), (new_private, new_public) = generate_key("old"), generate_key("new")
        keys = load_sealing_keys(
            key_file(tmp_path / "keys", "# old one", old_private.get_secret_value(), "", new_private.get_secret_value())
        )
        for public in (old_public, new_public):
            sealed = SealedSecret(sealed=seal(SecretStr(public), public, account_id="acme"))
            assert (await store(keys).open(sealed, "acme")).get_secret_value() == public

    async def test_what_is_sealed_for_several_keys_opens_with_any_of_them(self, tmp_path: Path) -> None:
        """While one key replaces another, workers with the old one and with the new one read the same snapshot."""
        (old_keys, old), (new_keys, new) = key_pair(tmp_path, "old"), key_pair(tmp_path, "new")
        sealed = SealedSecret(sealed=seal(SecretStr(CANARY), old, new, account_id="acme"))
        for keys in (old_keys, new_keys):
            assert (await store(keys).open(sealed, "acme")).get_secret_value() == CANARY
        text = await refusal(store(key_pair(tmp_path, "third")[0]), sealed)
        assert "old, new" in text

    def test_it_is_sealed_for_each_key_once_and_for_one_at_least(self) -> None:
        _, public = generate_key("k1")
        for wrong in ((public, public), ()):
            with pytest.raises(ConfigurationError):
                seal(SecretStr(CANARY), *wrong, account_id="acme")

    async def test_the_worker_seals_for_its_first_key(self, tmp_path: Path) -> None:
        """If an operator puts a new key first, then new secrets need no other."""
        (new, _), (old, _) = generate_key("new"), generate_key("old")
        keys = load_sealing_keys(key_file(tmp_path / "keys", new.get_secret_value(), old.get_secret_value()))
        sealed = keys.seal(SecretStr(CANARY), "acme")
        assert sealed is not None
        assert sealed.startswith("new.")
        assert (await store(keys).open(SealedSecret(sealed=sealed), "acme")).get_secret_value() == CANARY
        assert SealingKeys({}).seal(SecretStr(CANARY), "acme") is None

    def test_sealing_twice_gives_two_boxes(self) -> None:
        """Equal passwords must not show as equal."""
        _, public = generate_key("k1")
        assert seal(SecretStr(CANARY), public, account_id="acme") != seal(SecretStr(CANARY), public, account_id="acme")

    async def test_if_the_key_is_not_here_the_error_names_it(self, tmp_path: Path) -> None:
        keys, _ = key_pair(tmp_path, "mine")
        _, other = generate_key("other")
        text = await refusal(store(keys), SealedSecret(sealed=seal(SecretStr(CANARY), other, account_id="acme")))
        assert "other" in text
        assert "mine" in text

    async def test_if_another_key_has_the_same_name_the_error_says_so(self, tmp_path: Path) -> None:
        keys, _ = key_pair(tmp_path, "k1")
        _, imposter = generate_key("k1")
        text = await refusal(store(keys), SealedSecret(sealed=seal(SecretStr(CANARY), imposter, account_id="acme")))
        assert "does not open with the key k1" in text

    @pytest.mark.parametrize(
        "sealed",
        [
            "k1",
            "k1.",
            ".AAAA",
            "k1.AAAA",
            "k1.!!!!",
            "k1.ключ",
            CANARY,
            f"k1.{CANARY}",
            "k1/x.AAAA",
            "k1.A",
            f"{CANARY}.x1",
            f"k1.v3.{'A' * 80}",
            f"k1.v2.v2.{'A' * 80}",
            f".v2.{'A' * 80}",
            f"k1.v2.{CANARY}",
        ],
    )
    async def test_malformed_text_is_refused_and_not_repeated(self, tmp_path: Path, sealed: str) -> None:
        keys, _ = key_pair(tmp_path, "k1")
        await refusal(store(keys), SealedSecret(sealed=sealed))

    async def test_a_changed_character_is_noticed(self, tmp_path: Path) -> None:
        keys, public = key_pair(tmp_path, "k1")
        sealed = seal(SecretStr(CANARY), public, account_id="acme")
        position = len(sealed) // 2
        changed = sealed[:position] + ("A" if sealed[position] != "A" else "B") + sealed[position + 1 :]
        await refusal(store(keys), SealedSecret(sealed=changed))

    @pytest.mark.parametrize("text", ["", "\n", "pass\x00word", "pass\r\nQUIT", "x" * 20_000])
    def test_what_could_not_be_opened_is_not_sealed(self, text: str) -> None:
        """The mistake shows at `sendas seal`, not at the first letter."""
        with pytest.raises(ConfigurationError):
            seal(SecretStr(text), generate_key("k1")[1], account_id="acme")

    @pytest.mark.parametrize(
        "public", ["", "k1", "k1:", "k1:AAAA", "k 1:" + "A" * 43, "k1:" + "!" * 43, f"k1:{'A' * 20}!{'A' * 23}"]
    )
    def test_a_malformed_public_key_is_refused(self, public: str) -> None:
        with pytest.raises(ConfigurationError, match="NAME:KEY"):
            seal(SecretStr("x"), public, account_id="acme")

    def test_a_key_with_a_bad_name_is_not_made(self) -> None:
        with pytest.raises(ConfigurationError):
            generate_key("a:b")


class TestOwnership:
    """A secret belongs to one account, or to the platform."""

    @pytest.mark.parametrize(
        ("sealed_for", "opened_for"),
        [
            ("victim", "evil"),
            ("victim", PLATFORM),
            (PLATFORM, "evil"),
            ("acme", "ACME"),
            ("acme", "acme "),
            ("acme", "acme\u200b"),
            ("caf\u00e9", "cafe\u0301"),
            ("null", PLATFORM),
            (PLATFORM, "null"),
        ],
    )
    async def test_what_is_anothers_does_not_open_and_whose_it_is_is_not_told(
        self, tmp_path: Path, sealed_for: str, opened_for: str
    ) -> None:
        """If a customer copies another's box into a mailbox of their own, then they get nothing, not even a name."""
        keys, public = key_pair(tmp_path, "k1")
        for sealed in (
            seal(SecretStr(CANARY), public, account_id=sealed_for),
            keys.seal(SecretStr(CANARY), sealed_for),
        ):
            assert sealed is not None
            secret = SealedSecret(sealed=sealed)
            text = await refusal(store(keys), secret, opened_for)
            assert not sealed_for or sealed_for not in text.replace("k1", "")
            assert (await store(keys).open(secret, sealed_for)).get_secret_value() == CANARY

    async def test_without_an_account_it_is_the_platforms(self, tmp_path: Path) -> None:
        """If somebody forgets the account, then the box opens for no customer."""
        keys, public = key_pair(tmp_path, "k1")
        secret = SealedSecret(sealed=seal(SecretStr(CANARY), public))
        await refusal(store(keys), secret, "acme")
        assert (await store(keys).open(secret, PLATFORM)).get_secret_value() == CANARY

    @pytest.mark.parametrize("account_id", ["a\nb", "\x00", "\ud800", "x" * 1_001])
    def test_an_account_that_no_snapshot_can_have_gets_no_box(self, account_id: str) -> None:
        with pytest.raises(ConfigurationError):
            seal(SecretStr("x"), generate_key("k1")[1], account_id=account_id)

    async def test_an_old_box_says_what_to_do_and_opens_for_nobody(self, tmp_path: Path) -> None:
        keys, public = key_pair(tmp_path, "k1")
        for account_id in ("acme", PLATFORM):
            text = await refusal(store(keys), SealedSecret(sealed=old_box(CANARY.encode(), public)), account_id)
            assert "sendas seal --snapshot" in text

    @pytest.mark.parametrize(
        "contents",
        [
            b"hunter2-canary",
            b'{"account": "acme", "secret": "hunter2-canary"}',
            b'sendas.secret/v2 {"account": "acme", "secret": "hunter2-canary"}',
            b'sendas.secret/v3\n{"account": "acme", "secret": "hunter2-canary"}',
            b"sendas.secret/v2\n",
            b"sendas.secret/v2\nhunter2-canary",
            b'sendas.secret/v2\n["acme", "hunter2-canary"]',
            b'sendas.secret/v2\n{"secret": "hunter2-canary"}',
            b'sendas.secret/v2\n{"account": "acme"}',
            b'sendas.secret/v2\n{"account": "", "secret": "hunter2-canary"}',
            b'sendas.secret/v2\n{"account": 1, "secret": "hunter2-canary"}',
            b'sendas.secret/v2\n{"account": ["acme"], "secret": "hunter2-canary"}',
            b'sendas.secret/v2\n{"account": "acme", "secret": "hunter2-canary", "account": "acme"}',
            b'sendas.secret/v2\n{"account": "evil", "secret": "hunter2-canary", "Account": "acme"}',
            b'sendas.secret/v2\n{"account": "acme", "secret": "hunter2-canary\\u0000"}',
            b'sendas.secret/v2\n{"account": "acme", "secret": "hunter2-canary\\r\\nQUIT"}',
            b'sendas.secret/v2\n{"account": "acme", "secret": "hunter2-canary\\ud800"}',
            b'sendas.secret/v2\n{"account": "acme", "secret": ""}',
            b'sendas.secret/v2\n{"account": "acme", "secret": 7}',
            b'sendas.secret/v2\n{"account": "acme", "secret": "hunter2-canary"} x',
            b"sendas.secret/v2\n" + b"[" * 10_000,
            b'sendas.secret/v2\n{"account": "acme", "secret": ' + b"9" * 5_000 + b"}",
            b"sendas.secret/v2\n\xff",
        ],
    )
    async def test_contents_of_another_form_are_refused_and_not_repeated(self, tmp_path: Path, contents: bytes) -> None:
        """Anybody with the public key can put anything into a box."""
        keys, public = key_pair(tmp_path, "k1")
        await refusal(store(keys), SealedSecret(sealed=old_box(contents, public).replace(".", ".v2.")))

    @pytest.mark.parametrize("secret", [EnvSecret(env="SENDAS_SECRET_RELAY"), FileSecret(file="relay")])
    async def test_variables_and_files_are_the_platforms(self, tmp_path: Path, secret: Secret) -> None:
        """If a customer's mailbox names the relay's variable or file, then it gets nothing."""
        (tmp_path / "relay").write_text(CANARY)
        environment = {"SENDAS_SECRET_RELAY": CANARY}
        tested = SecretStore(SealingKeys({}), environment, tmp_path, reference_accounts=frozenset({"own"}))
        assert "SENDAS_SECRET_REFERENCE_ACCOUNTS" in await refusal(tested, secret, "evil")
        for account_id in (PLATFORM, "own"):
            assert (await tested.open(secret, account_id)).get_secret_value() == CANARY


class TestResealing:
    """Secrets in the first form, which names no account, are sealed anew."""

    def test_an_old_box_becomes_the_accounts(self, tmp_path: Path) -> None:
        keys, public = key_pair(tmp_path, "k1")
        sealed = keys.reseal(old_box(CANARY.encode(), public), "acme")
        assert sealed is not None
        assert keys.open(sealed, "acme").get_secret_value() == CANARY
        assert keys.reseal(sealed, "acme") is None, "it has its account already"
        with pytest.raises(SecretUnavailable):
            keys.reseal(sealed, "evil")

    def test_a_new_box_under_an_old_ones_name_is_not_taken_for_a_password(self, tmp_path: Path) -> None:
        """If a customer strips the version off another's box, then sealing anew does not make its contents theirs."""
        keys, public = key_pair(tmp_path, "k1")
        stripped = seal(SecretStr(CANARY), public, account_id="victim").replace(".v2.", ".")
        with pytest.raises(SecretUnavailable) as caught:
            keys.reseal(stripped, "evil")
        assert CANARY not in str(caught.value)

    def test_old_and_new_boxes_in_one_text_are_refused(self, tmp_path: Path) -> None:
        keys, public = key_pair(tmp_path, "k1")
        mixed = f"{old_box(b'x', public)},{seal(SecretStr('x'), public, account_id='acme')}"
        with pytest.raises(SecretUnavailable):
            keys.reseal(mixed, "acme")


def old_box(contents: bytes, public: str) -> str:
    """A box of the first form, `KEY.BOX`, with anything in it."""
    name, _, key = public.partition(":")
    raw = SealedBox(PublicKey(decode(key))).encrypt(contents)
    return f"{name}.{encode(raw)}"


class TestKeyFile:
    def test_a_malformed_line_is_named_by_its_number_only(self, tmp_path: Path) -> None:
        private, _ = generate_key("k1")
        path = key_file(tmp_path / "keys", private.get_secret_value(), f"k2:{CANARY}")
        with pytest.raises(ConfigurationError, match="line 2") as caught:
            load_sealing_keys(path)
        assert CANARY not in str(caught.value)

    def test_one_name_twice_is_refused(self, tmp_path: Path) -> None:
        lines = [generate_key("k1")[0].get_secret_value() for _ in range(2)]
        with pytest.raises(ConfigurationError, match="second key"):
            load_sealing_keys(key_file(tmp_path / "keys", *lines))

    @pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe"])
    def test_a_file_without_keys_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "keys").write_bytes(content)
        with pytest.raises(ConfigurationError):
            load_sealing_keys(tmp_path / "keys")

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"no\.keys"):
            load_sealing_keys(tmp_path / "no.keys")

    def test_keys_show_in_no_repr(self, tmp_path: Path) -> None:
        private, _ = generate_key("k1")
        keys = load_sealing_keys(key_file(tmp_path / "keys", private.get_secret_value()))
        secret_part = private.get_secret_value().partition(":")[2]
        assert secret_part not in f"{keys!r} {keys} {private!r} {store(keys)!r}"


class TestEnvironment:
    async def test_a_variable_with_the_prefix_is_read(self) -> None:
        opened = await store(SENDAS_SECRET_RELAY="pass").open(EnvSecret(env="SENDAS_SECRET_RELAY"), PLATFORM)
        assert opened.get_secret_value() == "pass"

    @pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "SENDAS_BROKER_URL", "sendas_secret_x", "PATH", ""])
    async def test_other_variables_are_not(self, name: str) -> None:
        """A snapshot must not be able to send the worker's own secrets to a server that a customer chose."""
        secret = EnvSecret.model_construct(env=name)
        assert "SENDAS_SECRET_" in await refusal(SecretStore(SealingKeys({}), {name: CANARY}), secret)

    async def test_another_prefix_can_be_set(self) -> None:
        tested = SecretStore(SealingKeys({}), {"MAIL_A": "pass"}, env_prefix="MAIL_")
        assert (await tested.open(EnvSecret(env="MAIL_A"), PLATFORM)).get_secret_value() == "pass"

    async def test_a_missing_variable_is_named(self) -> None:
        assert "SENDAS_SECRET_X" in await refusal(store(), EnvSecret(env="SENDAS_SECRET_X"))


class TestFiles:
    @pytest.mark.parametrize("content", ["pass", "pass\n", "pass\r\n", "pass\n\n"])
    async def test_the_line_break_of_an_editor_is_no_part_of_it(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "relay").write_bytes(content.encode())
        opened = await store(directory=tmp_path).open(FileSecret(file="relay"), PLATFORM)
        assert opened.get_secret_value() == "pass"

    async def test_spaces_are(self, tmp_path: Path) -> None:
        (tmp_path / "relay").write_text(" pass \n")
        opened = await store(directory=tmp_path).open(FileSecret(file="relay"), PLATFORM)
        assert opened.get_secret_value() == " pass "

    async def test_links_as_kubernetes_makes_them_are_followed(self, tmp_path: Path) -> None:
        (tmp_path / "..2026_11").mkdir()
        (tmp_path / "..2026_11" / "relay").write_text("pass")
        (tmp_path / "..data").symlink_to("..2026_11")
        (tmp_path / "relay").symlink_to("..data/relay")
        opened = await store(directory=tmp_path).open(FileSecret(file="relay"), PLATFORM)
        assert opened.get_secret_value() == "pass"

    @pytest.mark.parametrize(
        "name",
        ["../outside", "sub/../../outside", "sub/../inside", "{outside}", "{inside}", "link", "link-to-dir/outside"],
    )
    async def test_nothing_outside_is_read_and_no_path_that_climbs(self, tmp_path: Path, name: str) -> None:
        directory = tmp_path / "secrets"
        (directory / "sub").mkdir(parents=True)
        (tmp_path / "outside").write_text(CANARY)
        (directory / "inside").write_text(CANARY)
        (directory / "link").symlink_to(tmp_path / "outside")
        (directory / "link-to-dir").symlink_to(tmp_path)
        written = name.format(outside=tmp_path / "outside", inside=directory / "inside")
        assert "not inside" in await refusal(store(directory=directory), FileSecret(file=written))

    @pytest.mark.parametrize("name", ["missing", "loop", ".", "sub", "pipe", "a\x00b", "big", "binary", "nul", "void"])
    async def test_what_is_no_secret_is_refused_and_never_waited_for(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "sub").mkdir()
        (tmp_path / "loop").symlink_to("loop")
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "big").write_text("x" * 20_000)
        (tmp_path / "binary").write_bytes(b"\xff\xfe")
        (tmp_path / "nul").write_text(f"{CANARY}\x00")
        (tmp_path / "void").write_text("\n")
        await refusal(store(directory=tmp_path), FileSecret.model_construct(file=name))

    async def test_without_a_directory_there_are_no_files(self) -> None:
        assert "no directory" in await refusal(store(), FileSecret(file="relay"))
