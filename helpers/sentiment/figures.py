"""Figures of lecture 09 on sentiment: marked text, and what is longer than a notebook's cell."""

import html


def marked(pieces, scores):
    """HTML: each piece under its score in per cent, tinted orange (against) to blue (for); text is escaped."""
    spans = []
    for piece, score in zip(pieces, scores):
        colour, depth = ("86,180,233", score - 0.5) if score > 0.5 else ("230,159,0", 0.5 - score)
        spans.append(
            f'<ruby style="background:rgba({colour},{2 * depth:.2f})">{html.escape(piece)}'
            f"<rt>{100 * score:.0f}</rt></ruby>"
        )
    return f'<p dir="auto">{" ".join(spans)}</p>'
