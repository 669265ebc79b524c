"""A small inline chart of a row of counts, drawn without script or style."""

from collections.abc import Sequence

from markupsafe import Markup

_WIDTH = 120
_HEIGHT = 24
_GAP = 1


def sparkline(counts: Sequence[int], label: str) -> Markup:
    """Bars from left to right; `label` describes them in words."""
    highest = max(counts, default=0)
    step = _WIDTH / max(len(counts), 1)
    bars = Markup("").join(
        Markup('<rect x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>').format(
            place * step, _HEIGHT - tall, max(step - _GAP, 0.5), tall
        )
        for place, count in enumerate(counts)
        if (tall := max(round(_HEIGHT * count / highest), 2) if count else 0)
    )
    return Markup(
        '<svg class="sparkline" role="img" aria-label="{}" viewBox="0 0 {} {}" width="{}" height="{}">{}</svg>'
    ).format(label, _WIDTH, _HEIGHT, _WIDTH, _HEIGHT, bars)
