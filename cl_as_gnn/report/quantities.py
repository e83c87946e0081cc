"""Names of what is measured, for people."""

from __future__ import annotations

from typing import NamedTuple


class Quantity(NamedTuple):
    """A heading and what the number says."""

    title: str
    meaning: str = ""


QUANTITIES = {
    "loss": Quantity("Loss", "mean over the epoch"),
    "online_knn": Quantity("Online kNN, %", "training images, each against the others"),
    "lr": Quantity("Learning rate"),
    "seconds": Quantity("Seconds an epoch"),
    "alignment": Quantity("Alignment", "mean squared distance of two views of an image: 0 perfect, 4 the worst"),
    "uniformity": Quantity("Uniformity", "log mean Gaussian kernel of all pairs: lower is more spread, 0 is collapse"),
    "effective_rank": Quantity("Effective rank", "exp of the spectrum’s entropy: 1 is collapse to a line"),
    "edge_purity": Quantity("Edge purity", "share of nearest-neighbour edges within a class"),
    "graph_energy": Quantity("Dirichlet energy", "of a minibatch on its augmentation graph: 0 is smooth"),
    "graph_rank": Quantity("Effective rank of a minibatch", "of the features that messages act on"),
    "graph_mismatch": Quantity("Mismatch of the operators", "‖(Ā − Ā′)F‖ / ‖F‖: 0 where they balance"),
    "graph_purity": Quantity("Purity of the minibatch graph", "share of its affinity edges within a class"),
}


def quantity(name: str) -> Quantity:
    """What is known of ``name``; of anything else, the name itself with spaces."""
    return QUANTITIES.get(name) or Quantity(name.replace("_", " ").capitalize())
