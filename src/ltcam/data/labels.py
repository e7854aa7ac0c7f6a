"""What a label means: which words say that a part is good, and which spellings are one class.

Labels are compared without regard to case, Unicode form and spaces around them. Whether a part is good is told by
its words, in several languages: `OK_parts`, `no defect`, `i.O.`, `Gut`, `conforme`, `良品`, `0`. Where nothing says
so (`a` and `b`, `positive` and `negative`), a person has to.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from ltcam.data.dataset import OK
from ltcam_runtime.errors import DataError
from ltcam_runtime.phrases import first_few

OK_WORDS_SHOWN = "good, ok, normal, pass, no_defect, i.O., gut, conforme, 0, False"
"""Some of the words that mean OK, for messages."""

_OK = frozenset(
    {
        "ok",
        "okay",
        "good",
        "goods",
        "normal",
        "pass",
        "passed",
        "accept",
        "accepted",
        "acceptable",
        "approved",
    }
    | {
        "fine",
        "sound",
        "intact",
        "perfect",
        "clean",
        "flawless",
        "faultless",
        "healthy",
        "undamaged",
        "unbroken",
    }
    | {"conforming", "conform", "compliant", "uncracked", "0", "00", "000", "false"}
    | {"io", "gut", "gute", "guter", "gutes", "gutteil", "gutteile", "inordnung", "fehlerfrei", "einwandfrei"}
    | {"bon", "bonne", "bons", "bonnes", "conforme", "conformes", "sain", "saine"}
    | {"bueno", "buena", "buenos", "buenas", "correcto", "aceptado", "aprobado", "apto"}
    | {
        "buono",
        "buona",
        "buoni",
        "buone",
        "accettato",
        "idoneo",
        "bom",
        "boa",
        "bons",
        "boas",
        "aprovado",
        "aceito",
    }
    | {"goed", "goede", "goedgekeurd", "bra", "godkänd", "felfri", "god", "godkendt", "godkjent", "feilfri"}
    | {
        "hyvä",
        "hyvaksytty",
        "hyväksytty",
        "dobry",
        "dobre",
        "dobra",
        "dobrý",
        "dobré",
        "vyhovující",
        "iyi",
        "saglam",
    }
    | {"sağlam", "hatasız", "jó", "хорошо", "хороший", "хорошие", "норма", "годен", "годные", "годный"}
    | {"良品", "合格", "正常", "合格品", "好", "良", "无缺陷", "無缺陷", "欠陥なし", "양품", "정상", "합격"}
)
_DEFECT = frozenset(
    {
        "defect",
        "defects",
        "defective",
        "damage",
        "damages",
        "damaged",
        "fault",
        "faults",
        "faulty",
        "flaw",
        "flaws",
    }
    | {
        "error",
        "errors",
        "anomaly",
        "anomalies",
        "anomalous",
        "crack",
        "cracks",
        "cracked",
        "scratch",
        "scratches",
    }
    | {"scratched", "broken", "problem", "problems", "issue", "issues", "def"}
    | {"fehler", "defekt", "defekte", "mangel", "mängel", "schaden", "défaut", "défauts", "defaut", "defauts"}
    | {
        "defecto",
        "defectos",
        "difetto",
        "difetti",
        "defeito",
        "defeitos",
        "fel",
        "feil",
        "fejl",
        "vad",
        "wady",
    }
)
_NEGATIONS = frozenset(
    {
        "no",
        "non",
        "not",
        "without",
        "un",
        "zero",
        "ohne",
        "kein",
        "keine",
        "sans",
        "sin",
        "senza",
        "sem",
        "geen",
    }
    | {"zonder", "utan", "uden", "uten", "bez", "без"}
)
_FREE = frozenset({"free", "frei", "less"})
_FILLERS = frozenset(
    {
        "part",
        "parts",
        "image",
        "images",
        "img",
        "imgs",
        "photo",
        "photos",
        "picture",
        "pictures",
        "pic",
        "pics",
    }
    | {
        "sample",
        "samples",
        "piece",
        "pieces",
        "product",
        "products",
        "item",
        "items",
        "unit",
        "units",
        "class",
    }
    | {
        "label",
        "front",
        "back",
        "top",
        "side",
        "surface",
        "surfaces",
        "data",
        "dataset",
        "set",
        "only",
        "quality",
    }
    | {
        "teil",
        "teile",
        "bild",
        "bilder",
        "pièce",
        "pièces",
        "pieza",
        "piezas",
        "pezzo",
        "pezzi",
        "peça",
        "peças",
    }
)
_SEPARATORS = re.compile(r"[\W_]+")
_HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d*)?")
_ZERO = re.compile(r"[+-]?0+(?:[.,]0*)?(?:[eE][+-]?\d+)?")


@dataclass(frozen=True)
class Labels:
    """The classes that the labels of a data set stand for.

    Attributes:
        class_of: `OK` or the name of a defect class, by label as it is written.
        ok: the labels that mean OK, as they are written, sorted.
    """

    class_of: Mapping[str, str]
    ok: tuple[str, ...]


def read_labels(labels: Iterable[str], ok: Collection[str] = ()) -> Labels:
    """The classes of labels. Spellings of one label get the most frequent one for their name.

    Args:
        labels: as they are written, each as often as it occurs.
        ok: labels that mean OK; then no others do. Empty: those whose words say so.

    Raises:
        DataError: a label in `ok` does not occur.
    """
    counts = Counter(labels)
    spellings: dict[str, list[str]] = {}
    for label in sorted(counts, key=lambda label: (-counts[label], label)):
        spellings.setdefault(label_key(label), []).append(label)
    _check_named(ok, spellings)
    named = {label_key(label) for label in ok}
    good = {key for key in spellings if (key in named if ok else means_ok(spellings[key][0], spellings))}
    class_of = {
        label: OK if key in good else _class_name(written[0])
        for key, written in spellings.items()
        for label in written
    }
    return Labels(class_of, tuple(sorted(label for label, name in class_of.items() if name == OK)))


def label_key(label: str) -> str:
    """A label as it is compared: composed, without regard to case and to spaces around and between words."""
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", label).casefold()).split())


def means_ok(label: str, others: Collection[str] = ()) -> bool:
    """Whether the words of a label say that there is no defect.

    Args:
        label: any text.
        others: keys of the other labels of the data set: `no_burr` means OK where `burr` is one of them.
    """
    text = unicodedata.normalize("NFKC", label).strip()
    if _ZERO.fullmatch(text):
        return True
    words = [word for hump in _HUMPS.split(text) for word in _SEPARATORS.split(hump) if word]
    words = [unicodedata.normalize("NFC", word.casefold()) for word in words]
    telling = [word for word in words if word not in _FILLERS] or words
    telling = [word for word in telling if not word.isdecimal()] or telling
    if "".join(telling) in _OK:
        return True
    kinds = {_SEPARATORS.sub("", other) for other in others} - _OK
    return _denied(telling) in _DEFECT | kinds


def spelled_alike(labels: Collection[str]) -> list[tuple[str, ...]]:
    """Sets of labels that differ in nothing but separators, such as `deep scratch` and `deep_scratch`; not numbers."""
    alike: dict[str, set[str]] = {}
    for label in labels:
        if _NUMBER.fullmatch(label.strip()):  # -1 is not 1, nor 1.0 the same as 10
            continue
        alike.setdefault(_SEPARATORS.sub("", label_key(label)), set()).add(label)
    return [tuple(sorted(found)) for key, found in sorted(alike.items()) if key and len(found) > 1]


def _denied(words: list[str]) -> str:
    """What words say there is none of: `defect` for "no defect", "non-defective", "defect free"; else ""."""
    if len(words) > 1 and words[0] in _NEGATIONS:
        return "".join(words[1:])
    if len(words) > 1 and words[-1] in _FREE:
        return "".join(words[:-1])
    if len(words) == 1:
        for start in ("non", "not", "no", "un"):
            if words[0].startswith(start) and words[0][len(start) :] in _DEFECT:
                return words[0][len(start) :]
        for end in _FREE:
            if words[0].endswith(end) and words[0][: -len(end)] in _DEFECT:
                return words[0][: -len(end)]
    return ""


def _class_name(label: str) -> str:
    """The label itself as text; but no defect class may be called like `OK`, and bytes that are none are escaped."""
    name = unicodedata.normalize("NFC", label.strip()).encode("utf-8", "backslashreplace").decode()
    return f"{name} (named a defect)" if label_key(label) == OK else name


def _check_named(ok: Collection[str], spellings: Mapping[str, list[str]]) -> None:
    for label in ok:
        if label_key(label) not in spellings:
            written = [names[0] for names in spellings.values()]
            close = get_close_matches(label, written, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise DataError(
                f"`ok` {label}: there is no such label; the labels are {first_few(sorted(written), 12)}{hint}"
            )
