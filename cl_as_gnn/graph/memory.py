"""Features of earlier steps as nodes; all state is in buffers, so that checkpoints hold it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cl_as_gnn.graph.inverted import centers, list_count, listed, nearest_by_lists, search_lists
from cl_as_gnn.graph.knn import nearest, search
from cl_as_gnn.nn.checks import check_count, check_features, check_integers, check_width, check_within
from cl_as_gnn.nn.distributed import gather_rows, own_rank, total, world_size
from cl_as_gnn.nn.unit import unit_rows

_QUERIES = 8192  # rows of a shared table that are sent to all ranks at a time


def _check_rows(name: str, x: Tensor, dim: int) -> None:
    check_features(name, x, real=True)
    check_width(name, x, dim, cure="that is dim")


class Memory(nn.Module):
    """Base class of tables ``features``, whose rows the ranks can share: rank r holds rows r, r + R, …

    The state is that of the whole table, on any number of ranks: every rank takes part in :meth:`state_dict`.

    Args:
        features: the whole table, its rows along ``axis``.
        axis: 0 or 1.
        shared: whether each rank holds its rows alone; else each holds all.
    """

    def __init__(self, features: Tensor, axis: int, shared: bool):
        super().__init__()
        self.axis, self.rows, self.shared, self.ranks = axis, features.size(axis), shared, 1
        self.features = nn.Buffer(features)

    def part(self) -> None:
        """Leave this rank its rows, and a row for what it is not to hold. Ranks meet only after a model is built."""
        if self.shared and self.ranks < world_size():
            self.ranks, rank = world_size(), own_rank()
            row = torch.arange(rank, rank + self.ranks * (-(-self.rows // self.ranks) + 1), self.ranks)
            self.features = nn.Buffer(
                self.features.index_select(self.axis, row.clamp(max=self.rows - 1).to(self.features.device))
            )

    def held(self) -> Tensor:
        """The rows that this rank holds, without the spare one; all rows where they are not shared."""
        self.part()
        return self.features.narrow(self.axis, 0, len(range(self.rows)[self.here]))

    @property
    def here(self) -> slice:
        """Which rows of the whole table this rank holds."""
        self.part()
        return slice(own_rank() if self.ranks > 1 else 0, None, self.ranks)

    def own(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Where rows of the whole table lie here, and which of them do; the others have the spare row."""
        held = row % self.ranks == self.here.start
        return torch.where(held, row // self.ranks, self.features.size(self.axis) - 1), held

    def fetch(self, row: Tensor) -> Tensor:
        """Rows of the whole table, from the rank that holds each; all ranks ask for the same."""
        if self.ranks == 1:
            return self.features.index_select(self.axis, row)
        place, held = self.own(row)
        shape = [1] * self.features.dim()
        shape[self.axis] = -1
        return total(torch.where(held.view(shape), self.features.index_select(self.axis, place), 0))

    @staticmethod
    def best(similarity: Tensor, row: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k best over all ranks, of the similarities ``(n, m)`` and rows of the whole table ``(n, m)`` that each
        rank found; m may differ from rank to rank."""
        near, order = similarity.topk(min(k, similarity.size(1)), dim=1)
        missing = (0, k - near.size(1))  # ranks exchange equally many
        parts = F.pad(near, missing, value=-torch.inf), F.pad(row.gather(1, order), missing)
        found, rows = (gather_rows(part.unsqueeze(0)).transpose(0, 1).flatten(1) for part in parts)
        best, order = found.topk(k, dim=1)
        return best, rows.gather(1, order)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.ranks > 1:
            parts = gather_rows(self.features.movedim(self.axis, 0)).unflatten(0, (self.ranks, -1))[:, :-1]
            whole = parts.transpose(0, 1).flatten(0, 1)[: self.rows]
            destination[f"{prefix}features"] = whole.movedim(0, self.axis).contiguous()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *more: Any) -> None:
        if self.ranks > 1:
            shape = list(self.features.shape)
            shape[self.axis] = self.rows
            self.features, self.ranks = nn.Buffer(self.features.new_zeros(shape)), 1
        super()._load_from_state_dict(state_dict, prefix, *more)


class FeatureQueue(Memory):
    """First-in, first-out queue of the latest ``size`` unit features, as in MoCo and NNCLR.

    Args:
        size: rows kept.
        dim: d.
        shared: on several ranks each holds its part; :meth:`nearest` and :meth:`fetch` find the same rows.
        lists: look for neighbors by inverted lists, once the queue is full, on a CPU, where it is whole. Their centers
            are learned anew whenever all rows have been replaced, and are part of the state.
    """

    def __init__(self, size: int, dim: int, shared: bool = False, lists: bool = False):
        check_count("FeatureQueue", size=size, dim=dim)
        super().__init__(torch.zeros(size, dim), 0, shared)
        self.lists = lists
        if lists:
            self.center = nn.Buffer(torch.zeros(list_count(size), dim))
            self.place = nn.Buffer(torch.zeros(size, dtype=torch.long))
        self.sample = nn.Buffer(torch.full((size,), -1))
        self.written = nn.Buffer(torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, x: Tensor, sample: Tensor) -> None:
        """Write the rows of ``x`` ``(m, d)``, normalized, over the oldest; ``sample`` ``(m,)`` are their indices."""
        self.part()
        size, dim = self.rows, self.features.size(1)
        _check_rows("FeatureQueue", x, dim)
        check_integers("FeatureQueue", sample, len(x), "sample", "one of each row")
        x, sample = x[-size:], sample[-size:]
        slot = (self.written + torch.arange(x.size(0), device=x.device)) % size
        self.features[self.own(slot)[0] if self.ranks > 1 else slot] = unit_rows(x.to(self.features.dtype))
        self.sample[slot] = sample
        self.written.add_(x.size(0))
        if self._by_lists:
            before = int(self.written) - x.size(0)
            if before // size < int(self.written) // size:  # from here on, whatever rank or process goes on
                self.center.copy_(centers(self.features))
                slot = torch.arange(size)
            self.place[slot] = listed(self.features[slot], self.center)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *more: Any) -> None:
        if self.lists and f"{prefix}center" not in state_dict:  # of a version without lists
            x = state_dict[f"{prefix}features"]
            state_dict[f"{prefix}center"] = center = centers(x)
            state_dict[f"{prefix}place"] = listed(x, center)
        super()._load_from_state_dict(state_dict, prefix, *more)

    @property
    def _by_lists(self) -> bool:
        return self.lists and self.ranks == 1 and self.features.device.type == "cpu" and int(self.written) >= self.rows

    @torch.no_grad()
    def nearest(self, x: Tensor, k: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Find the k rows most similar to each unit row of ``x`` ``(n, d)``: features ``(n, k, d)``, similarities
        ``(n, k)``, and data-set indices ``(n, k)``, −1 for slots never written, whose similarity counts as 0."""
        self.part()
        _check_rows("FeatureQueue", x, self.features.size(1))
        if self.ranks == 1:
            if self._by_lists:
                similarity, slot = search_lists(self.features, x, k, self.center, self.place)
            else:
                similarity, slot = search(self.features, x, k, caller="FeatureQueue")
            return self.features[slot], similarity, self.sample[slot]
        check_count("FeatureQueue", most=self.rows, cure="that is the number of rows", k=k)
        similarity, place = _search(self.held(), x, k, "FeatureQueue")
        similarity, slot = self.best(similarity, place * self.ranks + own_rank(), k)
        return self.fetch(slot.flatten()).view(*slot.shape, -1), similarity, self.sample[slot]


def _search(key: Tensor, query: Tensor, k: int, caller: str) -> tuple[Tensor, Tensor]:
    """As :func:`search`, of all keys where they are fewer than k; a rank may hold none."""
    if len(key):
        return search(key, query, min(k, len(key)), caller=caller)
    return query.new_empty(len(query), 0, dtype=torch.float32), query.new_empty(len(query), 0, dtype=torch.long)


class SampleBank(Memory):
    """One row per sample and stage: the features of each sample when it was last seen, and before.

    Args:
        num_samples: N.
        dim: d.
        stages: past stages kept.
        unit: normalize what is written.
        shared: on several ranks each holds the rows of its samples.
    """

    def __init__(self, num_samples: int, dim: int, stages: int = 1, unit: bool = True, shared: bool = False):
        check_count("SampleBank", num_samples=num_samples, dim=dim, stages=stages)
        super().__init__(torch.zeros(stages, num_samples, dim), 1, shared)
        self.unit = unit
        self.seen = nn.Buffer(torch.zeros(stages, num_samples, dtype=torch.bool))

    @torch.no_grad()
    def read(self, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``(stages, m, d)`` of the samples, latest first, and which are written ``(stages, m)``."""
        self.part()
        self._check_samples(sample)
        return self.fetch(sample), self.seen[:, sample]

    @torch.no_grad()
    def write(self, sample: Tensor, x: Tensor) -> None:
        """Push ``x`` ``(m, d)``, as the latest stage of the samples ``(m,)``, which hold no duplicates."""
        self.part()
        self._check_samples(sample, len(x) if isinstance(x, Tensor) else None)
        _check_rows("SampleBank", x, self.features.size(2))
        place = self.own(sample)[0] if self.ranks > 1 else sample
        for stage in range(self.features.size(0) - 1, 0, -1):
            self.features[stage, place] = self.features[stage - 1, place]
            self.seen[stage, sample] = self.seen[stage - 1, sample]
        x = x.to(self.features.dtype)
        self.features[0, place] = unit_rows(x) if self.unit else x
        self.seen[0, sample] = True

    @torch.no_grad()
    def nearest(self, sample: Tensor, k: int, lists_above: int | None = None) -> tuple[Tensor, Tensor]:
        """Find the k others of some samples ``(m,)`` whose latest features are most similar, by cosine, to each.

        Of a shared bank each rank compares all m with those that it holds, and the best of all ranks are kept.

        Args:
            sample: all different, and the same on every rank.
            k: 1 ≤ k < m.
            lists_above: more samples than that look by inverted lists, on a CPU, where the bank is whole; ``None``:
                never.

        Returns:
            Similarities and samples, ``(m, k)``, nearest first.
        """
        self.part()
        self._check_samples(sample)
        if self.ranks == 1:
            x = self.features[0].index_select(0, sample)
            by_lists = lists_above is not None and len(x) > lists_above and x.device.type == "cpu"
            similarity, at = nearest_by_lists(x, k) if by_lists else nearest(x, k, caller="SampleBank")
            return similarity, sample[at]
        check_count("SampleBank", most=len(sample) - 1, cure="that is the number of others", k=k)
        held = sample[sample % self.ranks == own_rank()]
        key, found = unit_rows(self.features[0, held // self.ranks]), []
        for some in sample.split(_QUERIES):
            similarity, at = _search(key, unit_rows(self.fetch(some)[0]), k + 1, "SampleBank")
            near = held[at]
            found.append(self.best(similarity.masked_fill(near == some.unsqueeze(1), -torch.inf), near, k))
        similarities, samples = zip(*found, strict=True)
        return torch.cat(similarities), torch.cat(samples)

    def _check_samples(self, sample: Tensor, count: int | None = None) -> None:
        check_integers("SampleBank", sample, count, "sample", "one of each row")
        check_within("SampleBank", "sample", sample, self.seen.size(1), "samples")
