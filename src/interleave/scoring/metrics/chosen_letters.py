"""The letter that a wordy reply chose."""

import re
import unicodedata
from string import ascii_uppercase

CLOSED = r"(?![\w'’])"
"""Behind a letter that stands alone: no word goes on."""
OF_SEVERAL = r"(?!(?:,|\s+and|\s+or|\s+nor)\s+[A-Z]\b)"
"""Behind a letter that is not the first of several."""
BLAMED = r"(?:is|are|was|looks?|seems?)\s+(?:not|wrong|incorrect|false|less)\b|isn['’]t\b"
NOT_WRONG = rf"{OF_SEVERAL}(?!\s*(?:{BLAMED}))"
"""Behind a letter of which nothing bad is said."""
REASON = r"(?:because|since|as|for|due|based|given|which|so|is|was|matches|fits|shows|and|in|with|but)\b"
"""Words that follow a letter and no article: "A because" chose A, and "A dog" nothing."""
NO_ARTICLE = rf"(?!(?<=[AI])\s+(?!{REASON})[a-z])"
OPENING = r"""["'“”‘’「『(\[（【{]"""
"""What may stand in front of a letter."""
LINKS = (
    r"is|are|was|be|would|should|must|will|clearly|definitely|the|option|choice|letter|answer|correct|right|best|one|most|"
    r"likely|to|as|it|it's|my|final|with|picture|image"
)
FILLING = rf"(?:[\s:=,]|\b(?:{LINKS})\b|是|为|為|应该|該|项|項|{OPENING})*"
"""Between "the answer" and its letter."""
NAMES = r"answers?|options?|choices?|choose|chose|chosen|select|selected|pick|picked|go with|going with"
SAID = re.compile(
    rf"(?i:\b(?:{NAMES})\b|答案|正确|正確|选择|選擇|选|選)(?i:{FILLING})(?P<letter>[A-Z]){CLOSED}{NOT_WRONG}{NO_ARTICLE}"
)
CORRECT = re.compile(
    r"(?<![\w'’])(?P<letter>[A-Z])[)\]\"'”]*\s+(?:is|was|seems|looks|must be|would be)\s+"
    r"(?:clearly\s+|most\s+likely\s+)?"
    r"(?:the\s+)?(?:correct|right|best|answer)\b"
)
CONCLUDED = re.compile(
    rf"(?i:\b(?:so|therefore|thus|hence|conclusion|finally)\b{FILLING})(?P<letter>[A-Z]){CLOSED}{NOT_WRONG}{NO_ARTICLE}"
)
FIRST = re.compile(
    rf"{OPENING}*(?P<letter>[A-Z]){NOT_WRONG}(?:[)\].:,;!?。，、）】」』\"'”’}}]|\s*[-–—=]|\s*$|\s*\n|\s+{REASON})"
)
FIRST_SMALL = re.compile(r"(?:\((?P<inner>[a-z])\)|(?P<marked>[a-z])(?:[).:]|$))")
"""A small letter at the beginning, which is one only in brackets, before a mark or alone."""
SMALL_SAID = re.compile(rf"(?i:\banswer\b{FILLING})\((?P<letter>[a-z])\)")
STANDS_ALONE = re.compile(r"\b(?P<letter>[A-Z])\b(?=[).:,;!?。，！\]\"'”]|\s*$)")
"""A capital that stands alone before a mark or the end."""


def chosen_letter(reply: str, count: int = 26) -> str:
    r"""The option that a reply chose, as a capital letter; empty where it names none of the first ``count`` letters.

    In this order: the letter with which it begins (``B``, ``(b)``, ``B. a dog``, ``**B**``), the last one that it calls
    its answer (``The answer is B because``, ``Option B is right``, ``\boxed{B}``), the last one that it calls right,
    the one that it concludes with, and else the last capital that stands alone before a mark or the end. An article
    is no letter: ``A dog`` chose nothing.
    """
    letters, text = ascii_uppercase[:count], _plain(reply)
    boxed = re.findall(r"\\boxed\s*\{\s*(?:\\text\w*\s*\{)?\s*\(?([A-Za-z])\b", text)
    if boxed and boxed[-1].upper() in letters:
        return str(boxed[-1]).upper()
    first = FIRST.match(text)
    if first and first["letter"] in letters:
        return first["letter"]
    small = FIRST_SMALL.match(text)
    if small:
        letter = (small["inner"] or small["marked"]).upper()
        if letter in letters:
            return letter
    for way in (SAID, SMALL_SAID, CORRECT, CONCLUDED, STANDS_ALONE):
        named = [found["letter"].upper() for found in way.finditer(text)]
        named = [letter for letter in named if letter in letters]
        if named:
            return named[-1]
    return ""


def _plain(reply: str) -> str:
    """A reply without reasoning before it, emphasis and tags, its letters and marks in their usual width."""
    text = unicodedata.normalize("NFKC", reply)
    text = re.sub(r"<think>.*?</think>", " ", text, flags=re.DOTALL)
    text = re.sub(r"</?[a-zA-Z_]+>|\*+|`+|#+ |\$", "", text)
    text = re.sub(r"(?<!\w)_+|_+(?!\w)", "", text)
    return text.strip()
