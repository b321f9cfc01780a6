"""What a sentence says about a finding in it: denied, uncertain, or of another person.

What belongs here: cue phrases, how far they reach, and what ends their reach. What does not: finding the
phenotypes (``matcher``).

After NegEx (Chapman et al., Journal of Biomedical Informatics 2001) and ConText (Harkema et al. 2009): a cue
before or after the finding in its sentence, cues that only look like one, and words that end the reach. The
lists are our own, from the clinical phrases that those papers name.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from medassets.ingest.text.words import COLON, END, PART

#: Words between a cue that stands after a finding and the finding ('seizures have so far been ruled out').
REACH_BACK = 6
#: Words that a cue reaches forward: a list of findings may be long, a sentence with two statements longer.
REACH_FORWARD = 30


class Cues(NamedTuple):
    """Phrases of one language, one a line, words folded."""

    before: str
    after: str
    not_negation: str
    uncertain: str
    uncertain_after: str
    relatives: str
    family: str
    reporting: str
    stops: str


ENGLISH = Cues(
    before="""no|not|non|without|w/o|denies|denied|denying|deny|absence of|negative for|free of|never
never had|lack of|lacks|lacked|lacking|neither|nor|cannot see|fails to reveal|failed to reveal
did not have|does not have|did not show|does not show|did not reveal|not have|has no|had no
no evidence of|no sign of|no signs of|no history of|no symptoms of|rules out|ruled out
ruling out|excluded|excludes|unremarkable for|resolved|no longer|not demonstrate|never developed
declined|instead of|rather than""",
    after="""absent|was absent|were absent|is absent|are absent|not present|not seen|not found|not observed
not noted|not detected|not evident|not identified|ruled out|excluded|was excluded|were excluded
was denied|were denied|denied|negative|is negative|was negative|were negative|unlikely
never seen|never occurred""",
    not_negation="""no increase|no change|no further|no decrease|no worsening|no improvement|not only|not just
not merely|not cause|not certain|not certain if|not necessarily|not extend|not treated
not explained|not due to|without difficulty|without further|no longer able|not improve
not respond|not controlled|no doubt|not associated|not always|not uncommon|not unusual|not rare
not limited to|not to be missed|no new|not known whether|no significant change
no interval change|not able|not been able|unable""",
    uncertain="""possible|possibly|probable|probably|suspected|suspicion of|suspicious for|suspect|suspects
question of|questionable|likely|may have|might have|could have|may be|might be|could be|rule out
consider|considered|concern for|concerning for|risk of|at risk for|risk for|to exclude
evaluate for|evaluation for|screening for|rule-out|cannot exclude|cannot be excluded|if|unless
whether""",
    uncertain_after="""suspected|is suspected|was suspected|possible|is possible|cannot be excluded
questionable|not excluded|cannot be ruled out|to be ruled out""",
    relatives="""mother|father|brother|sister|brothers|sisters|sibling|siblings|parent|parents|grandmother
grandfather|grandparents|aunt|uncle|cousin|cousins|son|daughter|nephew|niece|relative|relatives
half brother|half sister|mom|dad|mum|twin""",
    family="family history of|family history|family history includes|history of in family|fhx|fh",
    reporting="""reports|reported|report|notes|noted|noticed|notices|says|said|states|stated|describes|described
brought|brings|observed|complains|complained|denies|denied|worried|concerned|recalls|saw
mentioned|thinks|feels|gives|gave|claims|confirms|confirmed""",
    stops="""but|however|although|though|except|except for|apart from|aside from|other than|yet|nevertheless
whereas|while|which|who|because|because of|due to|secondary to|since|patient|the patient|proband
she|he|they|presented|presents|presenting|developed|develops|has|had|showed|shows|revealed
revealed a|reveals|there is|there was|there were|there are|still|then|with the exception of
besides|positive for|is present|was present|were present|are present|demonstrated|exhibits
exhibited|suffers|suffered|complains|reports|admits|causing|cause""",
)

SPANISH = Cues(
    before="""no|sin|niega|niegan|nego|ausencia de|no presenta|no presento|no tiene|no tuvo|no refiere|no hay
no se observa|no se observan|no se aprecia|no se aprecian|nunca|nunca ha tenido|tampoco|ni
descartado|descartada|se descarta|se descarto|descartandose|negativo para|libre de|carece de
no muestra|no mostro|no padece|niega tener|sin evidencia de|sin signos de|sin datos de
no evidencia de|excluye|en ausencia de|no existe|no existen""",
    after="""ausente|ausentes|descartado|descartada|descartados|descartadas|negado|negada|negativo|negativa
no presente|no presentes|excluido|excluida|se descarta|se descarto|no se observa|no se observan""",
    not_negation="""no solo|no solamente|no aumento|sin aumento|sin cambios|sin cambio|no causa|no mejora
no mejoro|no responde|no respondio|no controlada|no controladas|sin duda|sin embargo|no sabe si
sin mejoria|no necesariamente|sin tratamiento|no tratada|no tratado""",
    uncertain="""posible|posibles|probable|probables|sospecha de|se sospecha|dudoso|dudosa|podria tener
puede tener|podria ser|puede ser|descartar|a descartar|para descartar|riesgo de|no se descarta
no se puede descartar|quizas|tal vez|si presenta|en caso de""",
    uncertain_after="a descartar|por descartar|dudoso|dudosa|posible|probable|en estudio",
    relatives="""madre|padre|hermano|hermana|hermanos|hermanas|abuelo|abuela|abuelos|tio|tia|tios|primo|prima
primos|hijo|hija|padres|familiares|familiar|sobrino|sobrina|mama|papa""",
    family="antecedentes familiares de|antecedente familiar de|antecedentes familiares|historia familiar de",
    reporting="""refiere|refieren|dice|dicen|nota|noto|notan|notaron|cuenta|explica|comenta|relata|describe
observa|observo|trae|consulta|consultan|informa|niega|niegan|preocupada|preocupado""",
    stops="""pero|sin embargo|aunque|excepto|salvo|a excepcion de|que|porque|debido a|por|paciente
el paciente|la paciente|presenta|presento|presenta ademas|tiene|tuvo|muestra|mostro|desarrollo
con|ya que|mientras|si hay|se observa|se observan|se aprecia|se aprecian|refiere|ella|el nino
la nina|ademas|en cambio|padece""",
)

_first = attrgetter("first")
Phrases = dict[str, list[tuple[tuple[str, ...], str]]]


class Flags(NamedTuple):
    """What is said of one finding."""

    negated: bool
    uncertain: bool
    family: bool


class Cue(NamedTuple):
    """A cue in the text: its kind and its words (first, after the last)."""

    kind: str
    first: int
    last: int


class Context:
    """The cues of one language, ready to be looked up."""

    def __init__(self, cues: Cues) -> None:
        self._phrases: Phrases = {}
        for kind, lines in zip(cues._fields, cues, strict=True):
            for phrase in lines.replace("\n", "|").split("|"):
                if form := tuple(phrase.replace("/", " ").replace("-", " ").split()):
                    self._phrases.setdefault(form[0], []).append((form, kind))
        for options in self._phrases.values():
            options.sort(key=lambda option: -len(option[0]))

    def cues(self, forms: Sequence[str]) -> list[Cue]:
        """The cues in a text's folded words, the longest at each place; kinds may share a phrase."""
        found: list[Cue] = []
        phrases = self._phrases
        for i, form in enumerate(forms):
            if form not in phrases or (found and i < found[-1].last):
                continue
            length = 0
            for phrase, kind in phrases[form]:
                if len(phrase) < length:
                    break
                if len(phrase) == 1 or tuple(forms[i : i + len(phrase)]) == phrase:
                    length = len(phrase)
                    found.append(Cue(kind, i, i + length))
        return found

    def flags(
        self, forms: Sequence[str], cues: Sequence[Cue], first: int, last: int, inside: frozenset[int]
    ) -> Flags:
        """What the sentence says about the finding in words ``first`` to ``last`` (exclusive).

        Args:
            forms: the text's folded words and marks.
            cues: ``cues(forms)``.
            first: first word of the finding.
            last: one after its last word.
            inside: the words that any finding is made of: 'absent' in 'absent thumb' denies nothing.
        """
        start = first
        while start > 0 and forms[start - 1] != END and first - start < REACH_FORWARD:
            start -= 1
        end = last
        while end < len(forms) and forms[end] != END and end - last < REACH_BACK:
            end += 1
        near = cues[bisect_left(cues, start, key=_first) : bisect_left(cues, end, key=_first)]
        outside = [
            cue for cue in near
            if cue.last <= end and not inside.intersection(range(cue.first, cue.last))
        ]  # fmt: skip
        before = _reaching([cue for cue in outside if cue.last <= first])
        after: set[str] = set()
        for cue in outside:
            if cue.first < last:
                continue
            if cue.kind in ("stops", "not_negation") and not any(
                other.first == cue.first and other.kind.endswith("after") for other in outside
            ):
                break
            if PART in forms[last : cue.first] and cue.last - cue.first == 1:
                continue  # a single word after a comma belongs to what follows
            if cue.kind == "before" and cue.first == last + 1 and forms[last] == COLON:
                after.add("after")  # 'seizures: no'
            after.add(cue.kind)
        return Flags(
            negated=("before" in before or "after" in after) and "uncertain_after" not in after,
            uncertain="uncertain" in before or "uncertain_after" in after,
            family="relatives" in before or "family" in before,
        )


def _reaching(cues: Sequence[Cue]) -> set[str]:
    """The kinds of the cues before a finding that nothing between ends."""
    live: set[str] = set()
    seen: Cue | None = None
    for cue in cues:
        if cue.kind == "not_negation":
            live.discard("before")
        elif cue.kind == "stops":
            # 'mother has epilepsy': the verb directly after the person belongs to her.
            near = seen is not None and seen.kind == "relatives" and cue.first - seen.last <= 2
            live.intersection_update({"relatives", "family"} if near else ())
        elif cue.kind == "reporting":
            live.discard("relatives")  # 'mother reports seizures': the finding is the patient's
        elif cue.kind in ("before", "uncertain", "relatives", "family"):
            live.add(cue.kind)
        seen = cue
    return live


CONTEXTS = {"en": Context(ENGLISH), "es": Context(SPANISH)}
