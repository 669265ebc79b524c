"""HTML as browsers read it."""

import pytest

from worker.domain.letter.markup import closed, read

# Whatever stands before it, a browser must see this.
AFTER = "<div>signature</div>"


@pytest.mark.parametrize(
    ("html", "ending"),
    [
        ("text", ""),
        ("<p>a<p>b<br><img src=x><ul><li>c</ul>", ""),
        ("<div><b>a</b></div><!-- <div> --><!-->", ""),
        ("<svg><path d='M0'/></svg>", ""),
        ("a<!-- never closed", "-->"),
        ("a<!doctype", ">"),
        ("a<![CDATA[ b", ">"),
        ("<style>p{}", "</style>"),
        ("<STYLE>p{}</sty", "</style>"),
        ("<title>a<b>", "</title>"),
        ("<textarea></p>", "</textarea>"),
        ("<xmp><b>", "</xmp>"),
        ("<iframe src=x>", "</iframe>"),
        ("<script>1<!--<script>2</script>", "--></script>"),
        ("<template><p>a", "</template>"),
        ("<details><summary>a</summary>", "</details>"),
        ("<p><details>a</p>", "</details>"),
        ("<select><option>a<div>", "</div></option></select>"),
        ("<dialog><object><table><td>a</object></dialog>", "</table></object></dialog>"),
        ("<div style='display:none'><table><td></div>", "</table></div>"),
        ("<div/>", "</div>"),
        ("<svg><g>", "</g></svg>"),
        ("<a href=x>", "</a>"),
        ("<li hidden>a", "</li>"),
        ("<dd hidden><p>a", "</dd>"),
        ("<option hidden>a<b>", "</b></option>"),
    ],
)
def test_what_a_text_leaves_open_is_closed(html: str, ending: str) -> None:
    assert closed(html) == html + ending


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("if x <y then", "if x &lt;y then"),
        ('a<a href="x', 'a&lt;a href="x'),
        ("<p>a</p><a title='><b>c</b>", "<p>a</p>&lt;a title='>&lt;b>c&lt;/b>"),
        ("a<plaintext>b<i>&amp;", "a<pre>b&lt;i>&amp;amp;</pre>"),
        ('<style>p{}</style x="', "<style>p{}</style>"),
    ],
)
def test_what_would_swallow_all_that_follows_becomes_text(html: str, text: str) -> None:
    assert closed(html) == text


@pytest.mark.parametrize(
    "html",
    ["<p title=it's>", '<p a=b="c>', "<p a='>'>", '<p "a>', "<p a = b>", "<p/>", "<p\n\tclass\n=\n'a'\n>"],
)
def test_quotes_count_only_where_a_value_begins(html: str) -> None:
    [tag] = read(html).tags
    assert (tag.start, tag.end, tag.name) == (0, len(html), "p")


@pytest.mark.parametrize(
    ("html", "name", "value"),
    [
        ("<a HREF='x&amp;y' href=z>", "href", "x&y"),
        ("<a data-href=x>", "href", None),
        ("<input checked>", "checked", ""),
        ("<a b=c/d>", "b", "c/d"),
        ("<a b=>", "b", ""),
    ],
)
def test_an_attribute_is_found_by_its_whole_name(html: str, name: str, value: str | None) -> None:
    assert read(html).tags[0].attribute(name) == value


@pytest.mark.parametrize(
    "piece", ["<div>", "<table>", "<b></p>", "<p></b>", "<a b='", "<select><td>", "<svg><g/>", "<"]
)
def test_closed_once_is_closed(piece: str) -> None:
    once = closed(piece * 100)
    assert closed(once + AFTER).endswith(AFTER)
