"""How many of Ray's nodes are alive."""

import threading
from typing import Any, Callable, List, Optional


class LivingNodes:
    """Counts Ray's living nodes. Ray's call has no time-out, retries for ever while its GCS is away, and lets no
    signal through meanwhile, so it runs beside: one at a time."""

    def __init__(self, nodes: Optional[Callable[[], List[Any]]] = None) -> None:
        self._nodes = nodes
        self._reader: Optional[threading.Thread] = None
        self._count: Optional[int] = None

    def living(self, patience: float = 1.0) -> Optional[int]:
        """The number now; None if it is not known within `patience` seconds."""
        if self._reader is None or not self._reader.is_alive():
            self._count = None
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        self._reader.join(patience)
        return None if self._reader.is_alive() else self._count

    def _read(self) -> None:
        nodes = self._nodes
        try:
            if nodes is None:
                from ray import nodes
            self._count = sum(bool(node["Alive"]) for node in nodes())
        except Exception:  # noqa: BLE001 - it is not known then
            pass
