"""Small FHIR resources of the official form, for the tests of what hospitals send."""

from medassets.serving.crosswalk import CodeMap

HPO, SNOMED, LOINC = "http://human-phenotype-ontology.org", "http://snomed.info/sct", "http://loinc.org"
PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "gender": "female",
    "birthDate": "2020-01-01",
    "name": [{"family": "Mustermann"}],
}
CODES = CodeMap.of(
    {SNOMED: {"91175000": "HP:0001250"}},
    {
        SNOMED: {"49727002": "HP:0012735"},
        LOINC: {
            "8287-5": {
                "low": "HP:0000252",
                "adult": {"unit": "cm", "below": {"F": 52, "M": 53}, "from": 60},
            },
            "8310-5": {"high": "HP:0001945", "adult": {"unit": "Cel", "from": 38}},
        },
        "evidence_of_term": {"HP:0012735": "E_201", "HP:0001945": "E_91"},
        "evidence_of_snomed": {"77386006": "E_167"},
    },
)


def coded(system, code):
    return {"coding": [{"system": system, "code": code}]}


def condition(system, code, status="confirmed", **more):
    return {
        "resourceType": "Condition",
        "code": coded(system, code),
        "verificationStatus": coded("", status),
    } | more


def observation(system, code, **more):
    return {"resourceType": "Observation", "status": "final", "code": coded(system, code)} | more


def measured(code, value, unit=None, **more):
    quantity = {"value": value} | ({"code": unit} if unit else {})
    return observation(LOINC, code, valueQuantity=quantity, **more)


def bundle(*resources, **more):
    entries = [{"resource": resource} for resource in resources]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries} | more
