"""Whatever a server does at whatever moment, each recipient stands once, and is uncertain only after the dot."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.doubles.smtp import PATIENT, Hook, letter, world
from worker.adapters.smtp import Timeouts

RECIPIENTS = ("a@example.net", "b@example.net", "c@example.net")
IMPATIENT = Timeouts(
    **{
        name: min(getattr(PATIENT, name), 0.05)
        for name in PATIENT.__slots__
        if name.endswith("_s") and name != "upload_bytes_per_s"
    },
    upload_bytes_per_s=1e9,
)

codes = st.sampled_from(["220", "221", "250", "251", "334", "354", "421", "450", "451", "500", "550", "554"])
replies = st.builds("{} {} text".format, codes, st.sampled_from(["2.0.0", "4.7.1", "5.1.1", "9.9.9", "|"]))
wire_text = st.text(st.sampled_from("250-4 \\rnx"), min_size=1, max_size=12).filter(lambda text: "," not in text)
acts = st.one_of(
    st.sampled_from(["close", "reset", "half-close, stall", "stall", "proceed", "accept, close", "accept, stall"]),
    replies,
    replies.map("proceed, {}".format),
    replies.map("pieces 2 {}".format),
    replies.map("{}, close".format),
    wire_text.map("raw {}\\r\\n".format),
    wire_text.map("raw {}, close".format),
    st.integers(0, 200).map("read {}, reset".format),
)
steps = st.sampled_from(
    ["banner", "ehlo", "mail", "rcpt a@", "rcpt b@", "rcpt", "data", "content", "dot", "idle", "rset"]
)
rules = st.builds("{}{}: {}".format, st.sampled_from(["", "once ", "after 1 "]), steps, acts)


def _is_sensible(rule: str) -> bool:
    # Reading content before there is any would wait for the client, which waits for the server.
    return "read" not in rule or "content" in rule


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    script=st.lists(rules.filter(_is_sensible), max_size=3).map("\n".join),
    is_pipelined=st.booleans(),
    letters=st.integers(1, 2),
)
async def test_every_recipient_stands_once_and_is_uncertain_only_after_the_dot(
    script: str, is_pipelined: bool, letters: int
) -> None:
    extensions = ("PIPELINING",) if is_pipelined else ()
    async with world(script, extensions=extensions, timeouts=IMPATIENT) as w:
        for _ in range(letters):
            hook = Hook(w.server)
            outcome = await w.transport.send(w.route, letter(*RECIPIENTS), hook)
            standing = [*outcome.accepted, *outcome.refused, *outcome.uncertain]
            assert sorted(standing) == sorted(RECIPIENTS)
            if outcome.uncertain or outcome.accepted:
                assert hook.times == 1
            if hook.times == 0:
                assert set(outcome.refused) == set(RECIPIENTS)
            assert hook.times <= 1
            assert w.transport.numbers.waiting == 0
