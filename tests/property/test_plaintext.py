"""Plain text of any HTML."""

from html import escape

from hypothesis import given
from hypothesis import strategies as st

from worker.domain.letter.plaintext import plain_text

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
TAGS = "<a <ul> <ol> <li> </ul> <blockquote> </blockquote> <pre> </pre> <br> <p> </p> <hr> <td> <style> </style> </a>"
BROKEN = "< > </ /> <! <!-- --> <? ![ ' \" = & &# &#x &#99999999999; href= https://x.example <script> </body> я"
pieces = st.sampled_from([*TAGS.split(), *BROKEN.split(), " ", "\n"])


@given(texts)
def test_text_that_was_escaped_into_html_comes_back_with_single_spaces(text: str) -> None:
    assert plain_text(f"<p>{escape(text)}</p>") == " ".join(text.split())


@given(st.lists(pieces | texts, max_size=60).map("".join))
def test_any_tag_soup_gives_some_text_with_no_more_than_one_blank_line_in_a_row(html: str) -> None:
    text = plain_text(html)
    assert "\n\n\n" not in text
    assert text == text.strip("\n")
