"""A fitted choice model as bytes: a NumPy archive without pickles, with the number of rows it was fitted on."""

import io
import zipfile
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from selector.choice_model import ChoiceModel
from selector.crosses import CROSSES
from selector.decisive_words import MOST_DECISIVE, NONE_DECISIVE, DecisiveWords
from selector.features import STATE_FEATURES
from selector.fitting import Familiar
from selector.follow import FEATURES as PATH_FEATURES
from selector.follow import PathModel
from selector.interplay import Interplay
from selector.knowledge import EXPERTS
from selector.path_relations import PATH_RELATIONS
from selector.reading import NO_WORDS
from selector.relations import RELATIONS
from selector.word_weights import NO_WEIGHTS, WordWeights
from trajstore.errors import DamagedStore

NO_INTERPLAY = Interplay(np.zeros((0, 0), np.float32), np.zeros(0, np.float32))
FIELDS = ("experts", "relations", "tool_relations", "state", "crosses")


@dataclass(frozen=True, slots=True)
class FittedModel:
    """What was fitted, and how many stored steps there were then."""

    model: ChoiceModel
    paths: PathModel
    familiar: Familiar
    rows: int
    words: WordWeights = NO_WEIGHTS
    decisive: DecisiveWords = NONE_DECISIVE
    usual: NDArray[np.int64] = field(default_factory=lambda: NO_WORDS)


def to_bytes(fitted: FittedModel) -> bytes:
    """The model's arrays, 16 bits an entry: the fit itself is no more exact."""
    interplay = fitted.model.interplay or NO_INTERPLAY
    weights = {name: getattr(fitted.model, name).astype(np.float16) for name in FIELDS}
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        **weights,
        inner=interplay.inner,
        outer=interplay.outer,
        paths=fitted.paths.weights,
        familiar=np.array([fitted.familiar.step, fitted.familiar.task]),
        rows=np.array(fitted.rows),
        decisive=np.array([*fitted.decisive.words], np.str_).reshape(-1, 2),
        usual=fitted.usual,
        words=np.array(list(fitted.words.weights), np.str_),
        word_weights=np.array(list(fitted.words.weights.values()), np.float64),
    )
    return buffer.getvalue()


def from_bytes(content: bytes) -> FittedModel:
    """The model that `to_bytes` wrote; `DamagedStore` where the bytes are anything else."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            model = ChoiceModel(*(archive[name].astype(np.float64) for name in FIELDS))
            interplay = Interplay(archive["inner"].astype(np.float32), archive["outer"].astype(np.float32))
            if len(interplay.outer):
                model = replace(model, interplay=interplay)
            paths = PathModel(archive["paths"].astype(np.float64))
            step, task = archive["familiar"].astype(np.float64)
            rows = int(archive["rows"])
            weights = archive["word_weights"].astype(np.float64)
            words = WordWeights(dict(zip(map(str, archive["words"].tolist()), weights.tolist(), strict=True)))
            decisive = DecisiveWords(tuple((str(tool), str(word)) for tool, word in archive["decisive"].tolist()))
            usual = archive["usual"].astype(np.int64)
    except (ValueError, KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DamagedStore("the stored choice model cannot be read; it is fitted anew from the steps") from error
    is_known = len(decisive.words) <= MOST_DECISIVE and bool(np.isfinite(weights).all())
    if not (is_known and _is_whole(model, paths) and _fits(model)):
        raise DamagedStore("the stored choice model has other features than this version; it is fitted anew")
    return FittedModel(model, paths, Familiar(float(step), float(task)), rows, words, decisive, usual)


def _is_whole(model: ChoiceModel, paths: PathModel) -> bool:
    tools = model.state.shape[-1]
    related = len(RELATIONS) + len(PATH_RELATIONS) * model.uses_paths
    shapes = tuple(getattr(model, name).shape for name in FIELDS)
    wanted = ((len(EXPERTS),), (related,), (tools, related), (STATE_FEATURES, tools), (CROSSES + 1,))
    is_calibrated = paths.weights.shape == (len(PATH_FEATURES) + 1,) and bool(np.isfinite(paths.weights).all())
    return is_calibrated and shapes == wanted and all(bool(np.isfinite(getattr(model, name)).all()) for name in FIELDS)


def _fits(model: ChoiceModel) -> bool:
    """Whether its network, where it has one, is of its features."""
    if model.interplay is None:
        return True
    inner, outer = model.interplay.inner, model.interplay.outer
    is_shaped = inner.shape == (len(EXPERTS) + len(model.relations) + 1, len(outer))
    return is_shaped and bool(np.isfinite(inner).all() and np.isfinite(outer).all())
