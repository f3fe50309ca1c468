"""Texts that tell tokenizers apart."""

from __future__ import annotations

SIGMA = "a word's last capital sigma: Unicode's full lower case ends it with another letter than single letters' has"
TEXTS = (
    "",
    "a chair",
    "A Tall CHAIR, with four legs.",
    "  spaces \t tabs\n and lines  ",
    "don't-stop! (really?) $5.00 #1 @home 50% a_b",
    "caf\N{LATIN SMALL LETTER E WITH ACUTE} na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve",
    "cafe\N{COMBINING ACUTE ACCENT} nai\N{COMBINING DIAERESIS}ve",
    "STRASSE stra\N{LATIN SMALL LETTER SHARP S}e \N{LATIN CAPITAL LETTER SHARP S}",
    "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}stanbul \N{LATIN SMALL LETTER DOTLESS I}",
    "\N{GREEK SMALL LETTER ALPHA}\N{GREEK CAPITAL LETTER SIGMA}\N{GREEK SMALL LETTER ALPHA}",
    "\N{CYRILLIC CAPITAL LETTER KA}\N{CYRILLIC SMALL LETTER O}\N{CYRILLIC SMALL LETTER TE}",
    "\u6905\u5b50 chair\u684c",
    "\uac00\uad6c \u3044\u3059 \u30a4\u30b9",
    "\u0915\u0941\u0930\u094d\u0938\u0940",
    "\N{CHAIR} \N{SNOWMAN}\N{VARIATION SELECTOR-16}",
    "soft\N{SOFT HYPHEN}hyphen zero\N{ZERO WIDTH JOINER}width",
    "no\N{NO-BREAK SPACE}break thin\N{THIN SPACE}space ideographic\N{IDEOGRAPHIC SPACE}space",
    "\N{LATIN SMALL LIGATURE FI}sh \N{FULLWIDTH LATIN CAPITAL LETTER A}\N{SUPERSCRIPT TWO}",
    "\N{LEFT DOUBLE QUOTATION MARK}quoted\N{RIGHT DOUBLE QUOTATION MARK} \N{EM DASH} \N{HORIZONTAL ELLIPSIS}",
    "x" * 100,
    "x" * 101,
    "antidisestablishmentarianism unfathomableness",
    "[CLS] [SEP] [PAD] [UNK] [MASK] ##ing",
    "0 12 345 6789 1,000,000 3.14e-10",
)
"""Read the same by every implementation."""
DIFFERING = {"\N{GREEK CAPITAL LETTER OMICRON}\N{GREEK CAPITAL LETTER DELTA}\N{GREEK CAPITAL LETTER SIGMA}": SIGMA}
"""Text -> why implementations may read it otherwise."""
