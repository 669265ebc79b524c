"""The plain-text version of HTML, good, broken and hostile."""

import time

import pytest

from worker.domain.letter.plaintext import MAX_HTML_CHARS, plain_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("Привет", "Привет"),
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("<div>one</div>\n<div>two</div>", "one\ntwo"),
        ("one<br>two<br/><br />three", "one\ntwo\n\nthree"),
        ("<p> a \n  b&nbsp;<b>c</b>d</p>", "a b cd"),
        ("5 * 3 < 16 &amp; _x_ #1 1. - +", "5 * 3 < 16 & _x_ #1 1. - +"),
        ("<ul><li>a<ul><li>b</ul><li>c</ul>d", "- a\n  - b\n- c\n\nd"),
        ("<ol><li><p>one</p></li><li>two<br>lines</li></ol>", "1. one\n2. two\n  lines"),
        ("<p>a</p><blockquote><p>q</p><blockquote>r</blockquote></blockquote>b", "a\n\n> q\n>\n> > r\n\nb"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><th>c<th>d</table>", "a b\nc d"),
        ("<pre>x = 1\n  y  = 2\n</pre>z", "x = 1\n  y  = 2\n\nz"),
        ("a<hr>b", "a\n\n---\n\nb"),
        ("<html><head><title>t</title><style>p{}</style></head><body>x<script>1<2</script>y</body></html>", "xy"),
        ("<html><head><title>t</title><meta charset=x><body>x", "x"),
        ("a<!-- > <b> -->b<!doctype html><?xml x?><![if !mso]>c<![endif]>", "abc"),
        ("a<img src='https://pixel.example/1' alt=''>b", "ab"),
        ("see <IMG alt='the leak &amp; the pump' src=x>", "see [the leak & the pump]"),
        ("Agreed <img class=emoji src=x alt='👎'>", "Agreed 👎"),
        ("<ol start=5><li>a<li>b</ol>", "5. a\n6. b"),
        ("<ol><li value='9'>a<li>b</ol>", "9. a\n10. b"),
        ("<ol reversed><li>a<ol><li>x</ol><li>b<li>c</ol>", "3. a\n  1. x\n2. b\n1. c"),
        ("<ol reversed start=-1><li>a<li>b</ol>", "-1. a\n-2. b"),
        ("<ol type=a start=26><li>a<li>b</ol>", "z. a\naa. b"),
        ("<ol type=A><li>a</ol><ol type=i start=9><li>b</ol><ol type=I start=4><li>c</ol>", "A. a\n\nix. b\n\nIV. c"),
        ("<ol start=nonsense type=?><li>a</ol>", "1. a"),
        ("<s>old</s> <del>older</del> new", "~~old~~ ~~older~~ new"),
        ("<input type=checkbox checked>done<br><input type='checkbox'>open<input type=text>", "[x] done\n[ ] open"),
        ("<div style='display: none'>preheader <div>more</div></div>seen", "seen"),
        ("<p style='color:red;VISIBILITY:hidden'>a<p>b", "b"),
        ("<p hidden>a</p><span style='mso-hide:all'>b</span>c<template>d</template>", "c"),
        ("<div style='max-height:0px;overflow:hidden'>a</div><p style='opacity:0.5;line-height:0'>b", "b"),
        ("<ul><li hidden>a</ul>b", "b"),
        ("a<video src=x>no video here</video>b", "ab"),
    ],
)
def test_what_is_read_in_html_is_read_in_the_text(html: str, text: str) -> None:
    assert plain_text(html) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('see <a href="https://x.example/?a=1&amp;b=2">here</a>.', "see here <https://x.example/?a=1&b=2>."),
        ("<a class=b HREF='https://x.example/a>b'>here</a>", "here <https://x.example/a>b>"),
        ("<a href=https://x.example/>x.example/</a>", "x.example/"),
        ('<a href="mailto:ivan@acme.example">ivan@acme.example</a>', "ivan@acme.example"),
        ('<a href="https://x.example"><img></a>', "<https://x.example>"),
        ('<a href="https://x.example"><p>here</p></a>', "here\n\n<https://x.example>"),
        ('<a href="https://a.example">a<a href="https://b.example">b', "a <https://a.example>b <https://b.example>"),
        ('<a href="java\nscript:alert(1)">a</a> <a href="#top">b</a> <a>c</a>', "a b c"),
        ('<a data-href="https://x.example">a</a>', "a"),
    ],
)
def test_links_are_kept_where_the_text_does_not_say_them(html: str, text: str) -> None:
    # An unclosed link ends with the document: its address is then not repeated.
    assert plain_text(html + "</a>") == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("a</p></ul></blockquote></a></li>b", "a\n\nb"),
        ("a < b <c", "a < b <c"),
        ("<p title='>' data-x=\"1<2\">a</p>", "a"),
        ("<p <b>a", "a"),  # an attribute
        ("<p title=it's>a</p>", "a"),
        ("a<!-- never closed <p>b", "a"),
        ("<style>never closed<p>b", ""),
        ("a<![x[ y", "a"),
        ("&#" + "9" * 5_000 + ";&#x110000;&#xD800;&#99999999;&unknown;&lt", "\ufffd" * 4 + "&unknown;<"),
        ("a\ud800", "a\ud800"),
    ],
    ids=range(10),
)
def test_broken_html_gives_what_can_be_read_of_it(html: str, text: str) -> None:
    assert plain_text(html) == text


@pytest.mark.parametrize(
    "pattern",
    [
        "<div>",
        "<blockquote>a",
        "<ul><li>a",
        "<ol><li>",
        "<",
        "<a ",
        "<a href='",
        "<a href=\"'",
        '<a "',
        '<a "<',
        '<a b="c<" ',
        "<a href=http://x.example>",
        "<a href=http://x.example><p>x",
        "<!--",
        "<!--->",
        "<!",
        "</",
        "<style>",
        "&",
        "&#",
        "&amp",
        "<p>текст</p>",
        "<pre>\n",
        "\n",
        "<br>",
        " ",
        "<td>",
    ],
)
def test_if_the_html_is_huge_and_hostile_it_takes_no_more_time_than_any_other(pattern: str) -> None:
    started = time.process_time()
    plain_text("<a" + pattern * (MAX_HTML_CHARS // len(pattern)))
    plain_text(pattern * (MAX_HTML_CHARS // len(pattern)))
    assert time.process_time() - started < 5  # measured below 0.2; what is quadratic takes minutes


def test_if_the_html_is_longer_than_the_limit_the_text_says_that_it_is_cut() -> None:
    text = plain_text("<p>word</p>" * (MAX_HTML_CHARS // 10))
    assert text.startswith("word\n\nword")
    assert text.endswith("word\n\n[…]")
    assert plain_text("x" * (MAX_HTML_CHARS + 1)) == "x" * MAX_HTML_CHARS + "\n\n[…]"


def test_however_deep_the_nesting_a_line_does_not_grow_beyond_eight_levels() -> None:
    lines = plain_text("<blockquote><ul><li>a" * 1_000).split("\n")
    assert lines[-1] == "> " * 8 + "  " * 7 + "- a"
