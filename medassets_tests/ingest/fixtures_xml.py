"""Small files in the official formats of Orphadata and PubMed, made for tests: no row is a real one."""

from pathlib import Path

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<JDBOR date="2026-06-01" version="1.3.42" copyright="Orphanet">'
)


def _name(tag: str, text: str) -> str:
    return f'<{tag} id="1"><Name lang="en">{text}</Name></{tag}>'


def disorder(code: str, name: str, inner: str) -> str:
    return (
        f'<Disorder id="{code}9"><OrphaCode>{code}</OrphaCode><ExpertLink lang="en">x</ExpertLink>'
        f'<Name lang="en">{name}</Name>{_name("DisorderType", "Disease")}{_name("DisorderGroup", "Disorder")}'
        f"{inner}</Disorder>"
    )


def reference(source: str, code: str, relation: str = "E (Exact mapping)") -> str:
    return (
        f'<ExternalReference id="1"><Source>{source}</Source><Reference>{code}</Reference>'
        f"{_name('DisorderMappingRelation', relation)}"
        f"{_name('DisorderMappingValidationStatus', 'Validated')}</ExternalReference>"
    )


def phenotype(term: str, frequency: str = "Very frequent (99-80%)") -> str:
    return (
        f'<HPODisorderAssociation id="1"><HPO id="1"><HPOId>{term}</HPOId><HPOTerm>x</HPOTerm></HPO>'
        f"{_name('HPOFrequency', frequency)}<DiagnosticCriteria/></HPODisorderAssociation>"
    )


def gene(symbol: str) -> str:
    return (
        "<DisorderGeneAssociation><SourceOfValidation>123[PMID]_45[PMID]</SourceOfValidation>"
        f'<Gene id="1"><Name lang="en">x</Name><Symbol>{symbol}</Symbol><ExternalReferenceList count="1">'
        '<ExternalReference id="1"><Source>HGNC</Source><Reference>3603</Reference></ExternalReference>'
        f"</ExternalReferenceList></Gene>{_name('DisorderGeneAssociationType', 'Disease-causing germline')}"
        f"{_name('DisorderGeneAssociationStatus', 'Assessed')}</DisorderGeneAssociation>"
    )


def prevalence(
    label: str,
    mean: str = "0.0",
    kind: str = "Point prevalence",
    place: str = "Worldwide",
    valid: bool = True,
) -> str:
    status = "Validated" if valid else "Not yet validated"
    return (
        f'<Prevalence id="1"><Source>77[PMID]</Source>{_name("PrevalenceType", kind)}'
        f"{_name('PrevalenceQualification', 'Value and class')}{_name('PrevalenceClass', label)}"
        f"<ValMoy>{mean}</ValMoy>{_name('PrevalenceGeographic', place)}"
        f"{_name('PrevalenceValidationStatus', status)}</Prevalence>"
    )


def orphadata(folder: Path) -> list[Path]:
    """Write the four products."""
    folder.mkdir(parents=True, exist_ok=True)
    synonyms = '<SynonymList count="1"><Synonym lang="en">MFS</Synonym></SynonymList>'
    references = "".join(
        (
            reference("OMIM", "154700"),
            reference("OMIM", "154700"),
            reference("ICD-10", "Q87.4", "NTBT (narrower term)"),
        )
    )
    nomenclature = disorder(
        "558", "Marfan syndrome", f"{synonyms}<ExternalReferenceList>{references}</ExternalReferenceList>"
    )
    phenotypes = "".join(
        (phenotype("HP:0001166"), phenotype("HP:0000098", "Excluded (0%)"), phenotype("HP:9999999"),
         phenotype("HP:0001083", "Sometimes"))
    )  # fmt: skip
    linked = disorder(
        "558", "Marfan syndrome", f"<HPODisorderAssociationList>{phenotypes}</HPODisorderAssociationList>"
    )
    genes = disorder(
        "558",
        "Marfan syndrome",
        f"<DisorderGeneAssociationList>{gene('FBN1')}{gene('FBN1')}</DisorderGeneAssociationList>",
    )
    found = "".join(
        (
            prevalence("1-5 / 10 000", "15.0"),
            prevalence("1-9 / 100 000", place="Europe"),
            prevalence("Unknown"),
            prevalence("often"),
            prevalence("1-9 / 100 000", "many"),
        )
    )
    frequent = disorder("558", "Marfan syndrome", f"<PrevalenceList>{found}</PrevalenceList>")
    files = {
        "en_product1.xml": f"<DisorderList>{nomenclature}{disorder('x', 'wrong', '')}</DisorderList>",
        "en_product4.xml": "<HPODisorderSetStatusList><HPODisorderSetStatus><Source>s</Source>"
        f"{linked}</HPODisorderSetStatus></HPODisorderSetStatusList>",
        "en_product6.xml": f"<DisorderList>{genes}</DisorderList>",
        "en_product9_prev.xml": f"<DisorderList>{frequent}</DisorderList>",
    }
    for name, content in files.items():
        (folder / name).write_text(f"{HEAD}{content}</JDBOR>", encoding="utf-8")
    return [folder / name for name in files]


def article(
    pmid: str, title: str, abstract: str | None, types: tuple[str, ...] = ("Case Reports",), notes: str = "",
    other: str = "",
) -> str:  # fmt: skip
    kinds = "".join(f'<PublicationType UI="D1">{kind}</PublicationType>' for kind in types)
    text = f"<Abstract>{abstract}</Abstract>" if abstract else ""
    return (
        f'<PubmedArticle><MedlineCitation Status="MEDLINE"><PMID Version="1">{pmid}</PMID><Article>'
        "<Journal><JournalIssue><PubDate><MedlineDate>2019 Jan-Feb</MedlineDate></PubDate></JournalIssue>"
        f"<Title>Journal of tests</Title></Journal><ArticleTitle>{title}</ArticleTitle>{text}"
        f"<PublicationTypeList>{kinds}</PublicationTypeList></Article>{notes}{other}</MedlineCitation>"
        f'<PubmedData><ReferenceList><Reference><ArticleIdList><ArticleId IdType="pubmed">1</ArticleId>'
        "</ArticleIdList></Reference></ReferenceList></PubmedData></PubmedArticle>"
    )


def note(kind: str, pmid: str) -> str:
    return (
        f'<CommentsCorrectionsList><CommentsCorrections RefType="{kind}"><RefSource>x</RefSource>'
        f'<PMID Version="1">{pmid}</PMID></CommentsCorrections></CommentsCorrectionsList>'
    )


def article_set(*articles: str) -> bytes:
    head = (
        '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, '
        '1st January 2025//EN" "https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd">'
    )
    return f"{head}<PubmedArticleSet>{''.join(articles)}</PubmedArticleSet>".encode()
