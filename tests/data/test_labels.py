from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltcam.data.dataset import OK
from ltcam.data.labels import (
    likeliest_ok,
    means_any_defect,
    means_ok,
    means_undecided,
    read_labels,
    slips,
    spelled_alike,
)
from ltcam_runtime.errors import DataError

PAIRS = [
    ("good", "bad"), ("OK", "NG"), ("ok", "nok"), ("0", "1"), ("IO", "NIO"), ("io", "nio"), ("i.O.", "n.i.O."),
    ("Gut", "Schlecht"), ("PASS", "FAIL"), ("passed", "failed"), ("accept", "reject"), ("OK_parts", "NG_parts"),
    ("good_images", "bad_images"), ("no_defect", "defect"), ("defect-free", "defect"), ("conforme", "rebut"),
    ("Conforme", "Non conforme"), ("ok", "not ok"), ("non-defective", "defective"), ("NoDefect", "Defect"),
    ("GoodParts", "BadParts"), ("OKParts", "NGParts"), ("normal", "abnormal"), ("uncracked", "cracked"),
    ("ok_front", "def_front"), ("0.0", "1.0"), ("False", "True"), ("00", "01"), ("Fehlerfrei", "Fehler"),
    ("In Ordnung", "Nicht in Ordnung"), ("ohne Fehler", "mit Fehler"), ("sans défaut", "défaut"), ("Bon", "Mauvais"),
    ("sin defectos", "con defectos"), ("bueno", "malo"), ("buono", "scarto"), ("良品", "不良品"), ("合格", "不合格"),
    ("정상", "불량"), ("good", "no good"), ("undamaged", "damaged"), ("no_burr", "burr"), ("without dirt", "dirt"),
    ("burr-free", "burr"), ("nodefect", "defect"), ("ＯＫ", "ＮＧ"), ("class 0", "class 1"),
    ("acceptable", "unacceptable"), ("notdefective", "defective"), ("Defectless", "Defect"),
    ("OK(良品)", "NG(不良品)"), ("良品OK", "不良品NG"), ("Gut (OK)", "Schlecht (NOK)"), ("Bon_OK", "Mauvais_NOK"),
    ("годен_ok", "брак_ng"), ("ok1", "ng1"), ("cls0_ok", "cls1_ng"), ("no_defect_found", "defect_found"),
    ("Conformi", "Non_conformi"), ("idonei", "scarti"), ("sano", "difettoso"), ("senza difetti", "con difetti"),
    ("Aceptables", "Inaceptables"), ("piezas_buenas", "piezas_malas"), ("bien", "mal"), ("intacto", "roto"),
    ("Prawidłowy", "Wadliwy"), ("bez wad", "z wadami"), ("zgodne", "niezgodne"), ("dobre_sztuki", "braki"),
    ("Aprovados", "Reprovados"), ("sem_defeito", "com_defeito"), ("correto", "incorreto"), ("perfeito", "ruim"),
    ("liang_pin", "bu_liang_pin"), ("hege", "buhege"), ("ZhengChang", "YiChang"), ("wu_que_xian", "que_xian"),
    ("合格品", "不合格品"), ("正常图像", "异常图像"), ("OK品", "NG品"), ("无划痕", "划痕"), ("異常なし", "異常あり"),
    ("양품", "불량품"), ("정상_이미지", "결함_이미지"), ("결함없음", "결함"), ("без дефектов", "дефекты"),
    ("исправный", "неисправный"), ("hatasız", "hatalı"), ("megfelelő", "nem_megfelelő"), ("virheetön", "viallinen"),
    ("akzeptiert", "abgelehnt"), ("unbeschädigt", "beschädigt"), ("accepté", "refusé"),
]  # fmt: skip


@pytest.mark.parametrize(("good", "bad"), PAIRS)
def test_usual_pairs(good: str, bad: str) -> None:
    labels = read_labels([good, bad])
    assert labels.ok == (good,)
    assert labels.class_of[bad] != OK


@pytest.mark.parametrize(
    "label",
    [
        "positive",
        "negative",
        "a",
        "1",
        "left",
        "yes",
        "no",
        "scratch",
        "10",
        "0.5",
        "",
        "false_ok",
        "no_0",
        "part_0",
        "img00",
        "Bild 0",
        "无",
        "品",
    ],
)
def test_what_says_nothing_is_not_taken_for_ok(label: str) -> None:
    assert not means_ok(label)


def test_spellings_of_one_label_are_one_class() -> None:
    composed, split = unicodedata.normalize("NFC", "Kräusel"), unicodedata.normalize("NFD", "Kräusel")
    labels = read_labels(["Good", "ok", "Scratch", "scratch", "scratch", " SCRATCH ", composed, split, split])
    assert labels.ok == ("Good", "ok")
    assert {labels.class_of[name] for name in ("Scratch", "scratch", " SCRATCH ")} == {"scratch"}
    assert labels.class_of[composed] == labels.class_of[split] == composed


def test_named_ok_labels_replace_the_words() -> None:
    labels = read_labels(["Normal", "negative", "Negative"], ok=["NEGATIVE"])
    assert labels.class_of == {"Normal": "Normal", "negative": OK, "Negative": OK}
    assert read_labels(["ok", "a"], ok=["a"]).class_of["ok"] not in (OK, "a")
    with pytest.raises(
        DataError, match=r"`ok` negativ: .* the labels are Normal, negative; did you mean negative\?"
    ):
        read_labels(["Normal", "negative"], ok=["negativ"])


def test_labels_that_differ_in_separators_are_noticed() -> None:
    assert spelled_alike(["deep scratch", "deep_scratch", "dent", "Deep-Scratch"]) == [
        ("Deep-Scratch", "deep scratch", "deep_scratch")
    ]


def test_labels_that_name_no_kind() -> None:
    for label in ("NOK", "n.i.O.", "not good", "Ausschuss", "defective parts", "不合格品", "불량", "брак"):
        assert means_any_defect(label), label
    for label in ("scratch", "no scratch", "OK", "good", "crack 2", "0", "Kratzer", "污渍"):
        assert not means_any_defect(label), label
    for label in (
        "unlabeled",
        "To sort",
        "unklar",
        "not_checked",
        "未标注",
        "Unknown images",
        "à revoir",
        "nicht bewertet",
    ):
        assert means_undecided(label), label
    for label in ("OK?", "crack ?", "?", "-", "--", "△", "to review", "_"):
        assert means_undecided(label), label
        assert not means_ok(label, {"crack", "-", "?", "ok"}), label
    for label in ("NOK", "ok", "scratch", "other", "○", "×", "-1"):
        assert not means_undecided(label), label


@pytest.mark.parametrize("sign", ["?", "-", "--", "<!-->", "✓", "✗", "○", "×", "!!!", "…"])
@pytest.mark.parametrize("label", ["scratch", "dent", "part A", "划痕", "no screw"])
def test_a_label_without_a_word_changes_no_other(label: str, sign: str) -> None:
    found = read_labels(["good", label, sign, "burr"])
    assert found.class_of[label] == label
    assert found.class_of["burr"] == "burr"


def test_signs_for_good_and_bad() -> None:
    for good, bad in (("○", "×"), ("✓", "✗"), ("✔\ufe0f", "❌"), ("◎", "✕")):
        found = read_labels([good, bad, good])
        assert (found.class_of[good], found.class_of[bad]) == (OK, bad)
        assert means_any_defect(bad)


def test_copies_of_good_images_are_good() -> None:
    for label in ("good - Kopie", "good_aug", "OK copy 2", "good_old", "Gut (Backup)"):
        assert means_ok(label), label
    for label in ("old", "copy", "new scratch", "not good copy", "bad_aug"):
        assert not means_ok(label), label


def test_numbers_are_not_taken_for_spellings_of_each_other() -> None:
    assert spelled_alike(["-1", "1", "1.0", "10"]) == []


@given(st.lists(st.text(max_size=8), min_size=1, max_size=6))
def test_any_labels(labels: list[str]) -> None:
    found = read_labels(labels)
    assert set(found.class_of) == set(labels)
    for label in labels:
        for form in ("NFC", "NFD"):
            twin = unicodedata.normalize(form, label)
            assert (read_labels([*labels, twin]).class_of[twin] == OK) == (found.class_of[label] == OK)


def test_a_label_that_is_no_text_is_escaped() -> None:
    assert read_labels(["ok", "p\udcfcs"]).class_of["p\udcfcs"] == "p\\udcfcs"


def test_which_label_to_ask_about() -> None:
    assert likeliest_ok(["line3_ng_2024", "line3_not_ok_2024", "line3_ok_2024"]) == "line3_ok_2024"
    assert likeliest_ok(["left", "right"]) == "left"
    for defective, other in (
        ("bad", "reference"),
        ("Ausschuss", "Serie"),
        ("defekt", "einwandfreie Teile neu"),
    ):
        assert likeliest_ok([defective, other]) == other, "copied, the line would turn the labels round"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("scratch", "scrach"),
        ("Dents", "dent"),
        ("crack", "carck"),
        ("stain", "stein"),
        ("deep_dent", "deep dents"),
    ],
)
def test_slips_of_the_pen_are_noticed(one: str, other: str) -> None:
    assert slips([one, "hole", other]) == [tuple(sorted((one, other)))]


@pytest.mark.parametrize(
    "labels",
    [
        ["type1", "type2", "type10"],
        ["scratch_a", "scratch_b"],
        ["sideA", "sideB"],
        ["hole", "pole", "mole"],
        ["scratch", "dent", "stain", "chip", "crack"],
        ["dark", "bark"],
        ["deep scratch", "deep_scratch"],
    ],
)
def test_variants_are_no_slips(labels: list[str]) -> None:
    assert slips(labels) == []
