"""Clinical text to phenotypes: names, where they stand, whether denied, and whose they are."""

from medassets.ingest.text.matcher import Finding, TextMatcher

__all__ = ["Finding", "TextMatcher"]
