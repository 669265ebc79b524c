"""Secrets: sealing and opening, and what may not be opened."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from worker.adapters.secrets import SealingKeys, SecretStore, generate_key, load_sealing_keys, seal
from worker.domain.snapshot import EnvSecret, FileSecret, SealedSecret, Secret
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


async def refusal(tested: SecretStore, secret: Secret) -> str:
    with pytest.raises(SecretUnavailable) as caught:
        await tested.open(secret)
    text = str(caught.value)
    assert CANARY not in text
    return text


class TestSealed:
    async def test_what_was_sealed_opens(self, tmp_path: Path) -> None:
        keys, public = key_pair(tmp_path, "k1")
        sealed = seal(SecretStr("пароль с пробелом"), public)
        assert (await store(keys).open(SealedSecret(sealed=sealed))).get_secret_value() == "пароль с пробелом"

    async def test_two_keys_in_a_file_open_each_their_own(self, tmp_path: Path) -> None:
        """A key can be replaced while secrets sealed with the former one are still about."""
        (old_private, old_public), (new_private, new_public) = generate_key("old"), generate_key("new")
        keys = load_sealing_keys(
            key_file(tmp_path / "keys", "# old one", old_private.get_secret_value(), "", new_private.get_secret_value())
        )
        for public in (old_public, new_public):
            sealed = SealedSecret(sealed=seal(SecretStr(public), public))
            assert (await store(keys).open(sealed)).get_secret_value() == public

    async def test_what_is_sealed_for_several_keys_opens_with_any_of_them(self, tmp_path: Path) -> None:
        """While one key replaces another, workers with the old one and with the new one read the same snapshot."""
        (old_keys, old), (new_keys, new) = key_pair(tmp_path, "old"), key_pair(tmp_path, "new")
        sealed = SealedSecret(sealed=seal(SecretStr(CANARY), old, new))
        for keys in (old_keys, new_keys):
            assert (await store(keys).open(sealed)).get_secret_value() == CANARY
        text = await refusal(store(key_pair(tmp_path, "third")[0]), sealed)
        assert "old, new" in text

    def test_it_is_sealed_for_each_key_once_and_for_one_at_least(self) -> None:
        _, public = generate_key("k1")
        for wrong in ((public, public), ()):
            with pytest.raises(ConfigurationError):
                seal(SecretStr(CANARY), *wrong)

    async def test_the_worker_seals_for_its_first_key(self, tmp_path: Path) -> None:
        """If an operator puts a new key first, then new secrets need no other."""
        (new, _), (old, _) = generate_key("new"), generate_key("old")
        keys = load_sealing_keys(key_file(tmp_path / "keys", new.get_secret_value(), old.get_secret_value()))
        sealed = keys.seal(SecretStr(CANARY))
        assert sealed is not None
        assert sealed.startswith("new.")
        assert (await store(keys).open(SealedSecret(sealed=sealed))).get_secret_value() == CANARY
        assert SealingKeys({}).seal(SecretStr(CANARY)) is None

    def test_sealing_twice_gives_two_boxes(self) -> None:
        """Equal passwords must not show as equal."""
        _, public = generate_key("k1")
        assert seal(SecretStr(CANARY), public) != seal(SecretStr(CANARY), public)

    async def test_if_the_key_is_not_here_the_error_names_it(self, tmp_path: Path) -> None:
        keys, _ = key_pair(tmp_path, "mine")
        _, other = generate_key("other")
        text = await refusal(store(keys), SealedSecret(sealed=seal(SecretStr(CANARY), other)))
        assert "other" in text
        assert "mine" in text

    async def test_if_another_key_has_the_same_name_the_error_says_so(self, tmp_path: Path) -> None:
        keys, _ = key_pair(tmp_path, "k1")
        _, imposter = generate_key("k1")
        text = await refusal(store(keys), SealedSecret(sealed=seal(SecretStr(CANARY), imposter)))
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
        ],
    )
    async def test_malformed_text_is_refused_and_not_repeated(self, tmp_path: Path, sealed: str) -> None:
        keys, _ = key_pair(tmp_path, "k1")
        await refusal(store(keys), SealedSecret(sealed=sealed))

    async def test_a_changed_character_is_noticed(self, tmp_path: Path) -> None:
        keys, public = key_pair(tmp_path, "k1")
        sealed = seal(SecretStr(CANARY), public)
        position = len(sealed) // 2
        changed = sealed[:position] + ("A" if sealed[position] != "A" else "B") + sealed[position + 1 :]
        await refusal(store(keys), SealedSecret(sealed=changed))

    @pytest.mark.parametrize("text", ["", "\n", "pass\x00word", "pass\r\nQUIT", "x" * 20_000])
    def test_what_could_not_be_opened_is_not_sealed(self, text: str) -> None:
        """The mistake shows at `sendas seal`, not at the first letter."""
        with pytest.raises(ConfigurationError):
            seal(SecretStr(text), generate_key("k1")[1])

    @pytest.mark.parametrize(
        "public", ["", "k1", "k1:", "k1:AAAA", "k 1:" + "A" * 43, "k1:" + "!" * 43, f"k1:{'A' * 20}!{'A' * 23}"]
    )
    def test_a_malformed_public_key_is_refused(self, public: str) -> None:
        with pytest.raises(ConfigurationError, match="NAME:KEY"):
            seal(SecretStr("x"), public)

    def test_a_key_with_a_bad_name_is_not_made(self) -> None:
        with pytest.raises(ConfigurationError):
            generate_key("a:b")


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
        opened = await store(SENDAS_SECRET_RELAY="pass").open(EnvSecret(env="SENDAS_SECRET_RELAY"))
        assert opened.get_secret_value() == "pass"

    @pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "SENDAS_BROKER_URL", "sendas_secret_x", "PATH", ""])
    async def test_other_variables_are_not(self, name: str) -> None:
        """A snapshot must not be able to send the worker's own secrets to a server that a customer chose."""
        secret = EnvSecret.model_construct(env=name)
        assert "SENDAS_SECRET_" in await refusal(SecretStore(SealingKeys({}), {name: CANARY}), secret)

    async def test_another_prefix_can_be_set(self) -> None:
        tested = SecretStore(SealingKeys({}), {"MAIL_A": "pass"}, env_prefix="MAIL_")
        assert (await tested.open(EnvSecret(env="MAIL_A"))).get_secret_value() == "pass"

    async def test_a_missing_variable_is_named(self) -> None:
        assert "SENDAS_SECRET_X" in await refusal(store(), EnvSecret(env="SENDAS_SECRET_X"))


class TestFiles:
    @pytest.mark.parametrize("content", ["pass", "pass\n", "pass\r\n", "pass\n\n"])
    async def test_the_line_break_of_an_editor_is_no_part_of_it(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "relay").write_bytes(content.encode())
        opened = await store(directory=tmp_path).open(FileSecret(file="relay"))
        assert opened.get_secret_value() == "pass"

    async def test_spaces_are(self, tmp_path: Path) -> None:
        (tmp_path / "relay").write_text(" pass \n")
        opened = await store(directory=tmp_path).open(FileSecret(file="relay"))
        assert opened.get_secret_value() == " pass "

    async def test_links_as_kubernetes_makes_them_are_followed(self, tmp_path: Path) -> None:
        (tmp_path / "..2026_11").mkdir()
        (tmp_path / "..2026_11" / "relay").write_text("pass")
        (tmp_path / "..data").symlink_to("..2026_11")
        (tmp_path / "relay").symlink_to("..data/relay")
        opened = await store(directory=tmp_path).open(FileSecret(file="relay"))
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
