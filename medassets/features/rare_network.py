"""The learned part of the rare-disease ranker as numpy: a small network a candidate, and its calibration.

What belongs here: the forward pass and the calibrated probabilities. What does not: how they were learned
(``learners.rare``). It is on the serving path: numpy only.

Sources: listwise softmax after ListNet (Cao et al., ICML 2007); temperature scaling after Guo et al. (ICML
2017), here one temperature for diseases with known cases and one for those without, against generalized
zero-shot bias (Chao et al., ECCV 2016).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from medassets.features.rare_arrays import load_array, save_array

_CLIP = 6.0
#: Candidates of a list that are asked of all networks.
_LEADING = 64


@dataclass(frozen=True, eq=False)
class RankNetwork:
    """An ensemble of E networks with two hidden layers and a linear path, one logit a candidate.

    Attributes:
        mean, scale: (F,) standardization of the features, which are then clipped to 6 standard deviations.
        w1, b1: (E, F, H), (E, H).
        w2, b2: (E, H, G), (E, G).
        w3: (E, G).
        skip: (E, F) linear path.
        bias: (E,) added to each logit.
    """

    mean: np.ndarray
    scale: np.ndarray
    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray
    w3: np.ndarray
    skip: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return the mean logit of each row: (n, F) to float32 (n,).

        Raises:
            ValueError: another number of features than learned.
        """
        if features.shape[1] != len(self.mean):
            raise ValueError(f"{features.shape[1]} features, but the network was learned on {len(self.mean)}")
        return self._ensemble(self._standard(features))

    def quick_logits(self, features: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Return logits as :meth:`logits`, where the leading candidates of each list are asked of all
        networks and the others, which share what little probability is left, of the first network alone.

        Args:
            features: (n, F), lists one after the other.
            starts: first row of each list.
        """
        x = self._standard(features)
        result = self._member(x, 0)
        leading = [
            start + np.argpartition(-part, _LEADING)[:_LEADING]
            if len(part) > _LEADING
            else start + np.arange(len(part))
            for start, part in zip(starts, np.split(result, starts[1:]), strict=True)
        ]
        chosen = np.concatenate(leading)
        result[chosen] = self._ensemble(x[chosen])
        return result

    def _standard(self, features: np.ndarray) -> np.ndarray:
        x = features - self.mean
        x /= self.scale
        return np.asarray(np.clip(x, -_CLIP, _CLIP, out=x), dtype=np.float32)

    def _member(self, x: np.ndarray, i: int) -> np.ndarray:
        hidden = _silu(_silu(x @ self.w1[i] + self.b1[i]) @ self.w2[i] + self.b2[i])
        return np.asarray(x @ self.skip[i] + self.bias[i] + hidden @ self.w3[i], dtype=np.float32)

    def _ensemble(self, x: np.ndarray) -> np.ndarray:
        total = self._member(x, 0)
        for i in range(1, len(self.w1)):
            total += self._member(x, i)
        return total / np.float32(len(self.w1))

    def save(self, directory: Path) -> None:
        """Write each array as a file of its own."""
        for field in fields(self):
            save_array(directory, f"network_{field.name}", getattr(self, field.name))

    @classmethod
    def load(cls, directory: Path) -> RankNetwork:
        """Read what ``save`` wrote."""
        return cls(**{f.name: load_array(directory, f"network_{f.name}") for f in fields(cls)})


@dataclass(frozen=True, eq=False)
class Calibration:
    """From logits to probabilities over the listed candidates and "none that I know".

    Attributes:
        inverse_temperature: (2,) for candidates without and with known cases.
        offset: (2,) added to their logits.
        unknown: weights of the logit of "none that I know" over :func:`novelty`.
        threshold: (1,) probability of "none that I know" above which an answer abstains.
    """

    inverse_temperature: np.ndarray
    offset: np.ndarray
    unknown: np.ndarray
    threshold: np.ndarray

    def probabilities(self, adjusted: np.ndarray, description: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the probability of each listed candidate and that of "none of these".

        Args:
            adjusted: (k,) logits as :meth:`adjusted` gives them.
            description: as :func:`case_description` gives it.
        """
        z = np.exp(adjusted - adjusted.max())
        total = z.sum()
        log_total, largest = np.log(total) + adjusted.max(), z.max() / total
        unknown = float(sigmoid(novelty(description, log_total, largest) @ self.unknown))
        return z * ((1 - unknown) / total), unknown

    def adjusted(self, logits: np.ndarray, has_case: np.ndarray) -> np.ndarray:
        """Return the logits on the common scale of both kinds: what candidates are ordered by."""
        kind = has_case.astype(np.int64)
        return np.asarray(self.inverse_temperature[kind] * logits + self.offset[kind])

    def save(self, directory: Path) -> None:
        """Write each array as a file of its own."""
        for field in fields(self):
            save_array(directory, f"calibration_{field.name}", getattr(self, field.name))

    @classmethod
    def load(cls, directory: Path) -> Calibration:
        """Read what ``save`` wrote."""
        return cls(**{f.name: load_array(directory, f"calibration_{f.name}") for f in fields(cls)})


def case_description(features: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Return what is read off the evidence to tell whether the disease is known: (7,).

    Args:
        features: feature rows of one case's list.
        names: names of the features.
    """
    of_case = [names.index(n) for n in ("n_observed", "n_excluded", "best_nearest", "best_cosine")]
    best = features[:, [names.index("own_covered"), names.index("own_best_match")]].max(axis=0)
    return np.concatenate([[1.0], features[0, of_case], best])


def novelty(description: np.ndarray, log_total: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Return the description with what the ranking itself says: (..., 7) to (..., 9).

    Args:
        description: (..., 7) of each case.
        log_total: (...) log of the summed exponentials of the adjusted logits.
        largest: (...) share of the first candidate among the listed ones.
    """
    ranking = np.stack([np.asarray(log_total), np.asarray(largest)], axis=-1)
    return np.concatenate([description, ranking], axis=-1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x))."""
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -60, 60))))


def _silu(x: np.ndarray) -> np.ndarray:
    gate = np.exp(-np.maximum(x, -60))
    gate += 1
    return np.asarray(np.divide(x, gate, out=gate))
