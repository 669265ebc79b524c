"""The scripted server itself: its rules, and what a plain client sees."""

import asyncio

import pytest

from stack.scripted_smtp import ScriptedSmtpServer, parse_script


@pytest.mark.parametrize("line", ["nonsense", "lunch: 250 ok", "mail", "once: 250 ok", "mail: explode"])
def test_a_line_that_is_no_rule_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="not a rule"):
        parse_script(line)


def test_comments_and_empty_lines_are_left_out() -> None:
    (rule,) = parse_script("# all is well\n\n  once rcpt a@b: 550 5.1.1 no, really, close  # but this\n")
    assert (rule.step, rule.text, rule.is_once) == ("rcpt", "a@b", True)
    assert rule.acts == ("550 5.1.1 no, really", "close")


def test_once_and_after_count_the_times() -> None:
    (rule,) = parse_script("once after 1 mail: close")
    assert [rule.fits("mail", "<a@b>") for _ in range(4)] == [False, True, False, False]


async def test_it_speaks_smtp_and_keeps_letters() -> None:
    async with ScriptedSmtpServer("rcpt b@: 550 5.1.1 no|such user", extensions=()) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"EHLO me\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n")
        writer.write(b"..dot\r\nx\r\n.\r\nWHAT\r\nQUIT\r\n")
        said = (await reader.read()).decode().splitlines()
        writer.close()
        await writer.wait_closed()
        assert said == [
            "220 scripted.example ESMTP",
            "250-scripted.example",
            "250 AUTH PLAIN LOGIN XOAUTH2",
            "250 2.1.0 sender ok",
            "550-5.1.1 no",
            "550 such user",
            "250 2.1.5 recipient ok",
            "354 go ahead",
            "250 2.0.0 queued as 1",
            "500 5.5.1 unknown command",
            "221 2.0.0 bye",
        ]
        assert server.letters[0].recipients == ("c@x",)
        assert server.letters[0].wire == b".dot\r\nx\r\n"
