"""What a user can do about an error, as a code: each front end words it in its own way, as it has its own buttons.

These are the words of the command line; the panel's are in widgets/hints.py, the browser's in web/hints.py. A hint that
reads the same everywhere (“Choose another folder.”) is plain text and needs no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CLI_WORDS = {
    "get-model": "Run “fewshotsam models download {encoder}”, or name a file that you have with --checkpoint FILE.",
    "replace-model": "Delete it and run “fewshotsam models download {encoder}”.",
    "another-checkpoint": "Download it again, or name another file with --checkpoint FILE.",
    "correct-checkpoint": "Correct --checkpoint, or omit it and run “fewshotsam models download {encoder}”.",
    "no-checkpoint": "Correct --checkpoint, or omit it: this encoder needs no file.",
    "encoder-of-checkpoint": "Use --encoder {encoder}, or name another file with --checkpoint FILE.",
    "checkpoint-of-encoder": "Name a SAM checkpoint of this encoder with --checkpoint FILE.",
    "name-encoder": "Name it too, for example --encoder vit_b.",
    "fetch-by-hand": "Take {file} from {source} and use --checkpoint FILE.",
    "fetch-later": "Try again later, or take the file from {source} and use --checkpoint FILE.",
    "check-login": "Check whether this network asks for a login, or take the file from {source} and use "
    "--checkpoint FILE.",
    "check-internet": "Check the internet connection and run “fewshotsam models download {encoder}” again, or bring "
    "the file from another computer and use --checkpoint FILE.",
    "another-device": "Use --device cpu or --device auto.",
    "automatic-precision": "Use --precision auto.",
    "free-memory": "Close other programs, choose a smaller encoder, or use --device cpu if the GPU is the limit.",
    "free-gpu-memory": "Close other programs or choose a smaller encoder, or use --device cpu.",
    "encoder-of-model": "Use --encoder {encoder} with the same checkpoint, or learn again without the model.",
    "method-of-model": "Use --method {method}, or learn again without the model.",
    "no-earlier": "Omit --models, or use --method few-shot with --encoder tiny.",
    "install-packages": "Run: pip install 'fewshotsam[{extra}]'",
    "install-reader": "Run: pip install {package}",
    "choose-painted": "If this is a finished segmentation, name the slices to learn from with --painted-slices.",
    "see-what-is-missing": "Run “fewshotsam doctor” to see what is missing.",
}


@dataclass(frozen=True)
class Hint:
    """One of the codes of `CLI_WORDS`, and the values in its text. `str` gives the command line's text."""

    code: str
    values: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """The text in the command line's words."""
        return self.worded(CLI_WORDS)

    def worded(self, words: Mapping[str, str]) -> str:
        """The text in a front end's words."""
        return words[self.code].format(**self.values)


def hint(code: str, **values: str) -> Hint:
    """A hint; its values are those that the text of any front end may need."""
    return Hint(code, values)


def hint_words(given: Hint | str, words: Mapping[str, str]) -> str:
    """A hint in the words of a front end; plain text is the same for all."""
    return given.worded(words) if isinstance(given, Hint) else given
