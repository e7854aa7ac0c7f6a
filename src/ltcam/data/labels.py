"""What a label means: which words say that a part is good, and which spellings are one class.

Labels are compared without regard to case, Unicode form and spaces around them. Whether a part is good is told by
its words, in several languages: `OK_parts`, `no defect`, `i.O.`, `Gut`, `conforme`, `良品`, `0`. Where nothing says
so (`a` and `b`, `positive` and `negative`), a person has to.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ltcam.data.dataset import OK
from ltcam_runtime.errors import DataError
from ltcam_runtime.phrases import first_few, word_set

OK_WORDS_SHOWN = "good, ok, normal, pass, no_defect, i.O., gut, conforme, 0, False"
"""Some of the words that mean OK, for messages."""


_OK = word_set(
    """
    ok okay okey good goods normal nominal pass passed passes accept accepted accepts acceptable approved fine sound
    intact perfect clean flawless faultless healthy undamaged unbroken unblemished conforming conform compliant
    uncracked correct golden 0 00 000 false
    io gut gute guter gutes gutteil gutteile gutbild gutbilder inordnung fehlerfrei einwandfrei unbeschädigt heil
    intakt akzeptiert freigegeben bestanden
    bon bonne bons bonnes conforme conformes sain saine accepté acceptée acceptés acceptées accepte acceptee
    bueno buena buenos buenas correcto correctos aceptado aceptados aceptable aceptables aprobado aprobados apto aptos
    bien intacto intactos perfecto perfectos sano sana sanos sanas
    buono buona buoni buone conformi accettato accettati accettabile accettabili idoneo idonea idonei integro integra
    integri corretto corretti sani
    bom boa boas aprovado aprovados aceito aceitos perfeito perfeitos correto corretos
    goed goede goedgekeurd bra godkänd felfri god godkendt godkjent feilfri hyvä hyvaksytty hyväksytty virheetön ehjä
    dobry dobre dobra prawidłowy prawidłowe prawidlowy prawidlowe sprawny sprawne poprawny poprawne zgodny zgodne
    nieuszkodzony nieuszkodzone
    dobrý dobré vyhovující vyhovuje shoda vpořádku vporadku acceptat jó megfelelő hibátlan
    iyi saglam sağlam hatasız hatasiz kusursuz kabul uygun tốt đạt bagus baik
    хорошо хороший хорошие норма годен годные годный исправный исправные исправен целый целые качественные соответствует
    良品 合格 正常 好 良 正品 优良 可 양품 정상 합격 양호
    liangpin hege hegepin zhengchang zhengpin hao wuquexian
    """
)
_NAMES_NO_KIND = word_set(
    """
    defect defects defective damage damages damaged fault faults faulty flaw flaws flawed anomaly anomalies
    anomalous def fehler defekt defekte mangel mängel défaut défauts defaut defauts defecto defectos difetto
    difetti defeito defeitos fel feil fejl vad vady wad wady дефект дефекты 缺陷 瑕疵 欠陥 不良 异常 異常 결함 불량 이상
    quexian
    """
)
_DEFECT = _NAMES_NO_KIND | word_set(
    """
    error errors crack cracks cracked scratch scratches scratched broken problem problems issue issues
    blemish blemishes schaden schäden defecte дефекта дефектов брака
    """
)
"""Beside a word that denies, they say that there is none: `no scratches`."""

_ANY_DEFECT = _NAMES_NO_KIND | word_set(
    """
    bad ng nok nio ko reject rejects rejected fail fails failed failure scrap abnormal nonconforming
    unacceptable fehlerhaft fehlerhafte fehlerteile mangelhaft schlecht schlechte schlechtteil schlechtteile
    ausschuss ausschuß défectueux defectueux mauvais mauvaise rebut rebuts defectuoso defectuosos malo mala
    malos malas rechazo rechazado rechazados difettoso difettosi scarto scarti cattivo cattivi defeituoso
    ruim rejeitado braki брак плохо плохие негодные 不合格 次品 buliang buhege
    """
)
"""Say that there is a defect, and not which."""

_UNDECIDED = word_set(
    """
    unlabeled unlabelled unlabeld unknown unsorted unchecked unjudged unreviewed unclear unsure undecided undefined
    uncertain unclassified unassigned todo tbd tosort tocheck tolabel toreview review maybe pending
    notlabeled notlabelled notchecked retest recheck notrated
    unklar unsicher nichtbewertet nichtgeprüft unbewertet ungeprüft ungeprueft unsortiert unbekannt offen zuprüfen
    inconnu inconnus atrier àtrier arevoir àrevoir indéterminé nonclassé dudoso dudosos dudosa dudosas desconocido
    desconocidos sinclasificar sconosciuto sconosciuti daverificare desconhecido nieznane
    неизвестно 未知 未标注 未标记 未分类 未分類 待定 待确认 待检 未検査 不明 보류 미분류
    """
)
"""Say that nobody has judged yet."""

_NEGATIONS = word_set(
    """
    no non not without un zero ohne kein keine sans sin senza sem geen zonder utan uden uten bez без fără fara wu
    """
)
_FREE = frozenset({"free", "frei", "less", "なし", "無し", "없음"})
_FILLERS = word_set(
    """
    part parts image images img imgs photo photos picture pictures pic pics sample samples piece pieces product
    products item items unit units class cls label front back top side surface surfaces data dataset set only quality
    found detected teil teile bild bilder pièce pièces pieza piezas pezzo pezzi peça peças sztuka sztuki
    copy copies kopie kopien copie copia copias cópia kopia aug augmented backup bak old new alt neu
    品 件 图像 画像 이미지
    """
)
_OF_CLASSES = frozenset({"class", "cls", "label"})
"""Fillers beside which a number is one of a class: `class 0` means OK, `part 0` is the first of many."""

_TRUTH_VALUES = frozenset({"0", "00", "000", "false"})
"""Mean OK alone, but nothing beside another word: a `false_ok` is none."""

_OK_MARKS, _DEFECT_MARKS, _UNDECIDED_MARKS = "✓✔☑✅○◯⭕◎👍", "×✕✖✗✘☒❌❎👎", "?¿△▲-–—_~.*#"
"""Signs that stand for a judgement where a label has no word."""

_PRODUCT = re.compile(r"(?<=.)(?:品|件|图像|圖像|图片|样本|画像|写真|품|이미지)$")
_HAVING_NONE = ("non", "not", "no", "un", "无", "無", "没有")
_SEPARATORS = re.compile(r"[\W_]+")
_EAST_ASIAN = "\u3040-\u9fff\uac00-\ud7af"
_HUMPS = re.compile(
    r"(?<=[a-z])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"
    rf"|(?<=[A-Za-z])(?=[{_EAST_ASIAN}])|(?<=[{_EAST_ASIAN}])(?=[A-Za-z])"
)
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d*)?")
_ZERO = re.compile(r"[+-]?0+(?:[.,]0*)?(?:[eE][+-]?\d+)?")


_SHORTEST_SLIP = 5  # of shorter labels one letter is much: hole and pole


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
    text = _plain(label)
    if _ZERO.fullmatch(text) or _is_made_of(text, _OK_MARKS):
        return True
    telling = _telling_words(text)
    if text.endswith("?"):
        return False
    in_two_languages = bool(telling) and {*telling} <= _OK - _TRUTH_VALUES
    if "".join(telling) in _OK or in_two_languages:
        return True
    kinds = {_SEPARATORS.sub("", other) for other in others} - _OK
    denied = _denied(telling)
    return bool(denied) and denied in _DEFECT | kinds


def means_any_defect(label: str) -> bool:
    """Whether the words of a label say that there is a defect, and not which: `NOK`, `not ok`, `Ausschuss`."""
    text = _plain(label)
    telling = _telling_words(text)
    word = "".join(telling)
    return word in _ANY_DEFECT or _denied(telling) in _OK - _TRUTH_VALUES or _is_made_of(text, _DEFECT_MARKS)


def means_undecided(label: str) -> bool:
    """Whether a label says that nobody has judged yet: `unlabeled`, `to check`, `unklar`, `OK?`, `-`."""
    text = _plain(label)
    asked = text.endswith("?") or _is_made_of(text, _UNDECIDED_MARKS)
    return asked or "".join(_telling_words(text)) in _UNDECIDED


def likeliest_ok(labels: Sequence[str]) -> str:
    """Of labels of which none means OK for sure, the one to ask about: it has such a word, and none that denies it.

    Args:
        labels: at least one.
    """

    def spoken_for(label: str) -> bool:
        words = _telling_words(_plain(label))
        return not _OK.isdisjoint(words) and (_DEFECT | _NEGATIONS).isdisjoint(words)

    possible = [label for label in labels if not means_any_defect(label)] or list(labels)
    return next(filter(spoken_for, possible), possible[0])


def spelled_alike(labels: Collection[str]) -> list[tuple[str, ...]]:
    """Sets of labels that differ in nothing but separators, such as `deep scratch` and `deep_scratch`; not numbers."""
    alike: dict[str, set[str]] = {}
    for label in labels:
        if _NUMBER.fullmatch(label.strip()):  # -1 is not 1, nor 1.0 the same as 10
            continue
        alike.setdefault(_SEPARATORS.sub("", label_key(label)), set()).add(label)
    return [tuple(sorted(found)) for key, found in sorted(alike.items()) if key and len(found) > 1]


def slips(labels: Collection[str]) -> list[tuple[str, str]]:
    """Pairs of labels that may be one with a slip of the pen: a letter more, another one, or two that changed places.

    What tells variants apart is no slip: numbers, single letters, the last letter.
    """
    words = {label: _SEPARATORS.split(label_key(label)) for label in labels}
    keys = {label: "".join(parts) for label, parts in words.items() if all(len(part) > 1 for part in parts)}
    near: dict[str, list[str]] = defaultdict(
        list
    )  # by what is left without one letter: slips have it in common
    for label, key in sorted(keys.items()):
        for left in {key, *(key[:place] + key[place + 1 :] for place in range(len(key)))}:
            near[left].append(label)
    pairs = {pair for found in near.values() for pair in itertools.combinations(found, 2)}
    return sorted((one, other) for one, other in pairs if _is_slip(keys[one], keys[other]))


def _is_slip(one: str, other: str) -> bool:
    begin = _shared(one, other)
    end = _shared(one[begin:][::-1], other[begin:][::-1])
    first, second = one[begin : len(one) - end], other[begin : len(other) - end]
    if not (first + second).isalpha() or max(len(one), len(other)) < _SHORTEST_SLIP:
        return False
    if len(first) == len(second):
        return end > 0 and (len(first) == 1 or (len(first) == 2 and first == second[::-1]))
    return {len(first), len(second)} == {0, 1}


def _shared(one: str, other: str) -> int:
    """How many letters two words have in common from their beginning."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return sum(1 for _ in pairs)


def _plain(label: str) -> str:
    """A label with one form of each letter and sign, and without what only changes how a sign is drawn."""
    return unicodedata.normalize("NFKC", label).replace("\ufe0f", "").strip()


def _is_made_of(text: str, marks: str) -> bool:
    return bool(text) and all(letter in marks for letter in text)


def _telling_words(text: str) -> list[str]:
    """The words of a label as they are compared, without those and numbers that say nothing beside others."""
    words = [word for hump in _HUMPS.split(text) for word in _SEPARATORS.split(hump) if word]
    words = [_without_product(unicodedata.normalize("NFC", word.casefold())) for word in words]
    telling = [word for word in words if word not in _FILLERS] or words
    if all(word.isdecimal() for word in telling) and not _OF_CLASSES.issuperset({*words} - {*telling}):
        return words
    return [word for word in telling if not word.isdecimal()] or telling


def _denied(words: list[str]) -> str:
    """What words say there is none of: `defect` for "no defect", "non-defective", "defect free"; else ""."""
    if len(words) > 1 and words[0] in _NEGATIONS:
        return "".join(words[1:])
    if len(words) > 1 and words[-1] in _FREE:
        return "".join(words[:-1])
    if len(words) == 1:
        word = words[0]
        rests = [(start, word[len(start) :]) for start in _HAVING_NONE if word.startswith(start)]
        rests += [(end, word[: -len(end)]) for end in _FREE if word.endswith(end)]
        # An own kind of defect is denied in scripts without spaces alone: `uncoated` is no good kind of `coated`.
        return next((rest for denial, rest in rests if rest in _DEFECT or not denial.isascii()), "")
    return ""


def _without_product(word: str) -> str:
    """`合格品` is `合格`; but `양품` is a word of its own."""
    return word if word in _OK else _PRODUCT.sub("", word)


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
