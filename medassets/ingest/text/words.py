"""Words of clinical text and what they have in common: spelling, inflection, near-synonyms.

What belongs here: cutting a text into words with offsets, and the stem under which words count as the same.
What does not: phenotypes (``lexicon``) and what a sentence says about them (``context``).

The stems are for comparison only: a dictionary's names and the text go through the same rules, so a stem need
not be a word. Near-synonyms are the adjective and noun of one organ (renal, kidney) and the modifiers that
names of phenotypes use interchangeably (reduced, decreased).
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

#: Beginnings that are written with a hyphen or without one ('pre-auricular', 'preauricular').
_PREFIXES = (
    r"\b(?:pre|post|peri|para|infra|supra|sub|inter|intra|retro|micro|macro|hypo|hyper|brachy|dolicho|poly|oligo|"
    r"mega|neuro|cardio|gastro|cranio|oro|naso|oculo|hepato|dys|hemi|multi|mid|non)"
)
#: A word, or a mark that ends a sentence or parts a list. A number keeps its decimal point.
_PIECE = re.compile(
    r"\d+(?:[.,]\d+)+|(?i:" + _PREFIXES + r")[-\u2010\u2011][^\W\d_]{3,}|[^\W_]+"
    r"|(?P<end>[.!?](?=\s|$|[)\]\"”])|;|\n(?=\s*(?:\n|[-*•\d]|[A-ZÁÉÍÓÚÑ]))|\r)"
    r"|(?P<colon>:)|(?P<part>[,()\[\]{}.!?])"
)
_HYPHENS = frozenset("-\u2010\u2011")
#: Forms of the marks: end of a sentence, what parts a list, and the colon of 'seizures: absent'.
END, PART, COLON = "\x00", "\x01", "\x02"
MARKS = {"end": END, "part": PART, "colon": COLON}


def _set(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


STOP_EN = _set("of the a an in on to s his her its their both this these at")
STOP_ES = _set("de del la el las los un una unos en al su sus lo")
AND_EN, AND_ES = _set("and or"), _set("y e o u")

#: Words that say how much or where, and that a name may lack.
OPTIONAL_EN = _set(
    "mild moderate severe marked profound slight mildly moderately severely markedly slightly bilateral "
    "unilateral left right significant apparent prominent isolated variable multiple very extremely "
    "congenital progressive generalized"
)
OPTIONAL_ES = _set(
    "leve moderado moderada grave severo severa marcado marcada bilateral unilateral izquierdo izquierda "
    "derecho derecha muy congenito congenita progresivo progresiva"
)

#: Words for 'something is wrong with' a part of the body, where a name says that it is abnormal.
VAGUE_EN = _set(
    "malformation malformations malformed defect defects deformity deformities deformed lesion lesions "
    "disorder disorders disturbance disturbances manifestation manifestations involvement finding findings "
    "change changes symptom symptoms sign signs problem problems dysfunction"
)
VAGUE_ES = _set("malformacion malformaciones defecto defectos alteracion alteraciones lesion lesiones")

_SAME_EN = (
    # organs and parts of the body
    "kidney renal",
    "heart cardiac",
    "liver hepatic",
    "lung pulmonary pulmonic",
    "eye ocular ophthalmic ophthalmologic ophthalmological",
    "eyelid lid",
    "ear otic aural otologic otological",
    "pinna pinnae auricle auricular",
    "helix helices helical",
    "hearing auditory",
    "face facial facies craniofacial",
    "skin cutaneous dermal",
    "tooth teeth dental dentition",
    "gum gingiva gingival",
    "lip labial",
    "tongue lingual",
    "nose nasal",
    "nostril nares naris",
    "mouth oral",
    "larynx laryngeal",
    "pharynx pharyngeal",
    "lacrimal lachrymal",
    "muscle muscular musculature",
    "joint articular",
    "skeleton skeletal",
    "cranium cranial skull",
    "spine spinal",
    "vertebra vertebrae vertebral",
    "thorax thoracic chest",
    "clavicle clavicular collarbone",
    "mandible mandibular",
    "patella patellar kneecap",
    "femur femoral thighbone",
    "tibia tibial",
    "pelvis pelvic",
    "limb extremity",
    "foot feet",
    "toe hallux halluces",
    "finger digit digital",
    "phalanx phalanges phalangeal phalange",
    "epiphysis epiphyses epiphyseal",
    "metaphysis metaphyses metaphyseal",
    "cortex cortical cortices",
    "palm palmar",
    "sole plantar",
    "nail ungual",
    "abdomen abdominal",
    "intestine intestinal bowel",
    "spleen splenic",
    "anus anal",
    "uterus uterine",
    "vagina vaginal",
    "testis testes testicular testicle",
    "penis penile",
    "genital genitalia",
    "breast mammary",
    "artery arterial",
    "vein venous",
    "ventricle ventricular",
    "iris irides",
    "vermis vermian",
    "neurologic neurological nervous",
    # findings
    "abnormal abnormality anomaly anomalous abnormally",
    "tumor neoplasm neoplastic neoplasia",
    "carcinoma carcinomatous",
    "seizure convulsion",
    "bleeding hemorrhage hemorrhagic",
    "failure insufficiency",
    "impairment impaired",
    "wasting wasted atrophy atrophic",
    "hypoplasia hypoplastic underdevelopment underdeveloped small",
    "difficulty problem",
    "growth grow",
    "speech speaking",
    "walk walking walked",
    "behavior behavioral behaviour behavioural",
    "intellectual intellect",
    # degree, size, shape, time
    "delay delayed retarded retardation",
    "decreased decrease decreasing reduced reduction diminished low",
    "increased increase increasing elevated elevation raised high",
    "absent missing lack agenesis",
    "large big enlarged enlargement",
    "wide broad broadened widened widening",
    "short shortening shortened shortness",
    "long elongated elongation",
    "thin thinning thinned",
    "thick thickened thickening",
    "flat flattened flattening",
    "dilated dilatation dilation dilatated",
    "prominent protruding prominence protrusion",
    "multiple numerous",
    "supernumerary extra accessory",
    "recurrent frequent repeated",
    "early premature",
    "distal terminal",
    "circulating serum plasma blood",
    "concentration level",
    "1st first",
    "2nd second index",
    "3rd third",
    "4th fourth",
    "5th fifth little pinky pinkie",
    "1 i",
    "2 ii",
    "3 iii",
    "4 iv",
    "and or",
)
_SAME_ES = (
    "renal rinon",
    "cardiaco corazon",
    "hepatico higado",
    "pulmonar pulmon",
    "facial cara",
    "mental intelectual",
    "retraso retardo",
    "crisis convulsion convulsivo",
    "anomalia malformacion",
)

_SUFFIXES_EN = (
    *("ization", "isation", "ically"),
    *("ities", "ation", "ition", "ating", "ative", "ional", "istic", "ously", "mental"),
    *("ness", "ated", "ions", "ical", "ally", "ment", "ency", "ence", "ancy", "ance"),
    *("ity", "ate", "ion", "ing", "ism", "ist", "ous", "ive", "ary", "ent", "ant", "ian"),
    *("ic", "al", "ia", "ed", "ar", "um", "us", "y", "e", "a"),
)
_ENDINGS_EN = (
    ("plasia", "plas"), ("plastic", "plas"), ("trophy", "troph"), ("trophic", "troph"), ("lepsy", "lept"),
    ("leptic", "lept"), ("plegia", "pleg"), ("plegic", "pleg"), ("genesis", "gen"), ("genetic", "genet"),
    ("paresis", "pare"), ("paretic", "pare"), ("rrhea", "rrhe"), ("uresis", "ure"), ("spasm", "spas"),
    ("spastic", "spas"), ("spasticity", "spas"), ("pathy", "path"), ("pathic", "path"),
    ("osis", "os"), ("otic", "os"),
)  # fmt: skip
_MIN_STEM = 3
#: A stem this long is of one meaning, unless the word is a verb's form.
_LONG_STEM, _LONG_STEM_ADJECTIVE = 5, 4
_LONG_STEM_VERB, _LONG_ADVERB, _LONG_VERB = 9, 6, 7
_VERBAL = ("ing", "ed", "e", "ation", "or", "ive", "al")


#: Tells keys that these rules made from those of an earlier release.
RULES = blake2b(Path(__file__).read_bytes(), digest_size=16).digest()


class Words(NamedTuple):
    """A text's words and marks in order.

    Attributes:
        forms: lower case without accents; one of ``MARKS`` for marks.
        starts: offset of each in the text.
        ends: offset after each.
    """

    forms: list[str]
    starts: list[int]
    ends: list[int]


def split(text: str) -> Words:
    """Cut a text into words and marks, with their offsets in the text as it was given."""
    forms: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for piece in _PIECE.finditer(text):
        forms.append(MARKS[piece.lastgroup] if piece.lastgroup else fold(piece[0]))
        start, end = piece.span()
        starts.append(start)
        ends.append(end)
    return Words(forms, starts, ends)


def fold(word: str) -> str:
    """Lower case, without accents; the letter of 'type A' stays apart from the article."""
    if word == "A":
        return word
    if word.isalnum() and word.isascii():
        return word.lower()
    letters = unicodedata.normalize("NFKD", word.casefold())
    return "".join(c for c in letters if not unicodedata.combining(c) and c not in _HYPHENS)


def inflected(word: str, other: str) -> bool:
    """Whether two folded English words differ in number or spelling only, or share a long stem.

    A word that is a name by itself needs this: 'mutation' has the stem of 'mutism'; 'ataxic' means ataxia.
    """
    if _spelled(_singular(word)) == _spelled(_singular(other)):
        return True
    first = _stem_en(word)
    if first != _stem_en(other):
        return False
    long_enough = len(first) >= (_LONG_STEM_ADJECTIVE if word.endswith("ic") else _LONG_STEM)
    # 'sleep' is the stem of 'sleepy', and another thing.
    verbal = word.endswith(_VERBAL) and len(first) < _LONG_STEM_VERB
    return first.isupper() or (long_enough and not verbal and word != first)


def stem(word: str, language: str = "en") -> str:
    """The form under which the inflections, spellings and near-synonyms of a folded word are the same."""
    return _stem_es(word) if language == "es" else _stem_en(word)


def number_of(stem: str) -> int:
    """A number for a stem; the sum over a phrase identifies it whatever the order of its words.

    57 bits: a sum of up to 64 words fits a signed 64-bit integer, and two phrases of a hundred thousand share
    a sum with a probability under one in ten million.
    """
    return int.from_bytes(blake2b(stem.encode(), digest_size=8).digest(), "big") >> 7


def _singular(word: str) -> str:
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1]


def _spelled(word: str) -> str:
    """American spelling; applied to names and text alike, so it need not be right for every word."""
    word = word.replace("ae", "e").replace("oe", "e")
    if len(word) > _LONG_VERB and word.endswith(("ise", "ised", "ising", "isation")):
        head, _, tail = word.rpartition("is")
        word = f"{head}iz{tail}"
    return word.replace("our", "or") if len(word) > 5 else word


def _reduced(word: str) -> str:
    for ending, kept in _ENDINGS_EN:
        if word.endswith(ending) and len(word) > len(ending):
            return word[: -len(ending)] + kept
    for suffix in _SUFFIXES_EN:
        if word.endswith(suffix) and len(word) - len(suffix) >= _MIN_STEM:
            return word[: -len(suffix)]
    return word


def _stem_en(word: str) -> str:
    singular = _spelled(_singular(word))
    if singular in _CLASS_EN:
        return _CLASS_EN[singular]
    # 'early', 'microcephaly' and 'polydactyly' are no adverbs.
    if len(singular) > _LONG_ADVERB and not singular.endswith(("aly", "yly")):
        singular = singular.removesuffix("ly")
    return _CLASS_EN.get(singular) or _reduced(singular)


def _stem_es(word: str) -> str:
    if word in _CLASS_ES:
        return _CLASS_ES[word]
    if len(word) > 4 and word.endswith("es"):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s"):
        word = word[:-1]
    if word in _CLASS_ES:
        return _CLASS_ES[word]
    return word[:-1] if len(word) > 3 and word[-1] in "aoe" else word


# The first of each group stands for all; capitals cannot be a stem of a folded word.
_CLASS_EN = {_spelled(word): group.split()[0].upper() for group in _SAME_EN for word in group.split()}
_CLASS_ES = {word: group.split()[0].upper() for group in _SAME_ES for word in group.split()}
