"""Messages and collective operations between the processes that :func:`tf_study.workers.run` starts.

Lecture 9.1 builds the ring of :meth:`Comm.all_reduce` step by step; a test holds the two equal. Later lectures
use what stands here. Every payload byte that a process sends is counted in :attr:`Comm.sent`.
"""

import collections
import contextlib
import pickle
import queue
import socket
import struct
import threading
from collections.abc import Sequence

import numpy as np

_LENGTH = struct.Struct("<QQ")


class PeerGone(Exception):
    """The process at the other end has ended; ``args`` are this rank and the other."""


def mesh(size: int) -> list[dict[int, socket.socket]]:
    """Return for each of ``size`` ranks the sockets that connect it with every other."""
    ends: list[dict[int, socket.socket]] = [{} for _ in range(size)]
    for low in range(size):
        for high in range(low + 1, size):
            ends[low][high], ends[high][low] = socket.socketpair()
    return ends


def doing(rank: int, waiting_for: int | None) -> str:
    """Return what a rank that did not end was doing, in Korean."""
    return f"{rank}번은 " + ("계산함" if waiting_for is None else f"{waiting_for}번을 기다림")


class Comm:
    """What a worker knows of the others.

    Attributes:
        rank: this process's number, from 0.
        size: how many processes there are.
        sent: payload bytes sent by this process, by kind of operation.
    """

    def __init__(self, rank: int, sockets: dict[int, socket.socket]):
        """Args: ``sockets`` maps every other rank to a connected stream socket."""
        self.rank, self.size = rank, len(sockets) + 1
        self.sent: collections.Counter[str] = collections.Counter()
        self.waiting_for: int | None = None
        self._sockets = sockets
        self._outbox = {peer: queue.SimpleQueue() for peer in sockets}
        # A thread a peer: with all ranks of a ring sending first, a full socket buffer would hold them all.
        self._senders = [
            threading.Thread(target=self._deliver, args=(peer,), daemon=True) for peer in sockets
        ]
        for sender in self._senders:
            sender.start()

    def _deliver(self, peer: int) -> None:
        with contextlib.suppress(OSError):  # Who is gone is said where something is expected of it.
            while (message := self._outbox[peer].get()) is not None:
                self._sockets[peer].sendall(message)
            self._sockets[peer].shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Wait until everything is delivered; what others still expect of this rank now fails."""
        for outbox in self._outbox.values():
            outbox.put(None)
        for sender in self._senders:
            sender.join()

    # -- one to one ------------------------------------------------------------------------------------

    def send(self, to: int, array, kind: str = "send") -> None:
        """Send a copy of ``array`` (any shape and dtype) to rank ``to``, without waiting for it to arrive."""
        array = np.asarray(array)
        self.sent[kind] += array.nbytes
        header = pickle.dumps((array.shape, array.dtype))
        body = array.tobytes()
        self._outbox[to].put(_LENGTH.pack(len(header), len(body)) + header + body)

    def recv(self, source: int) -> np.ndarray:
        """Return the next array from rank ``source``, waiting for it.

        Raises:
            PeerGone: if that process ends without sending one.
        """
        self.waiting_for = source
        header, body = _LENGTH.unpack(self._read(source, _LENGTH.size))
        shape, dtype = pickle.loads(self._read(source, header))
        array = np.frombuffer(self._read(source, body), dtype).reshape(shape)
        self.waiting_for = None
        return array

    def _read(self, source: int, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            try:
                count = self._sockets[source].recv_into(view)
            except ConnectionError:
                count = 0
            if not count:
                raise PeerGone(self.rank, source)
            view = view[count:]
        return data

    # -- collective: every rank of ``group`` (by default all) calls them with the same group -----------------

    def _ring(self, group: Sequence[int] | None) -> tuple[int, int, int, int]:
        group = list(range(self.size)) if group is None else list(group)
        if self.rank not in group or len(set(group)) < len(group):
            raise ValueError(f"rank {self.rank} is not (once) in the group {group}")
        place, size = group.index(self.rank), len(group)
        return place, size, group[(place + 1) % size], group[(place - 1) % size]

    def reduce_scatter(
        self, parts, group: Sequence[int] | None = None, kind: str = "reduce_scatter"
    ) -> np.ndarray:
        """Return the sum over the group of everyone's ``parts[i]``, ``i`` being this rank's place in the group.

        Args:
            parts: one array a rank of the group; the shapes agree between ranks. Each rank sends
                ``N - 1`` of the ``N`` parts.
        """
        place, size, following, previous = self._ring(group)
        parts = [np.array(part) for part in parts]
        if len(parts) != size:
            raise ValueError(f"{len(parts)} parts for a group of {size}")
        for step in range(1, size):
            self.send(following, parts[(place - step) % size], kind)
            parts[(place - step - 1) % size] += self.recv(previous)
        return parts[place]

    def all_gather(
        self, array, group: Sequence[int] | None = None, kind: str = "all_gather"
    ) -> list[np.ndarray]:
        """Return the list of everyone's ``array`` in the order of the group; the shapes may differ."""
        place, size, following, previous = self._ring(group)
        parts = [np.array(array)] * size
        for step in range(size - 1):
            self.send(following, parts[(place - step) % size], kind)
            parts[(place - step - 1) % size] = self.recv(previous)
        return parts

    def all_reduce(self, array, group: Sequence[int] | None = None, kind: str = "all_reduce") -> np.ndarray:
        """Return the sum of everyone's ``array``, bit for bit the same on all ranks.

        A ring: each rank sends ``2 (N - 1) / N`` times the size of ``array`` (Patarasuk and Yuan 2009).
        """
        size = self._ring(group)[1]
        array = np.asarray(array)
        parts = np.array_split(array.ravel(), size)
        summed = self.all_gather(self.reduce_scatter(parts, group, kind), group, kind)
        return np.concatenate(summed).reshape(array.shape)

    def broadcast(
        self, array, root: int = 0, group: Sequence[int] | None = None, kind: str = "broadcast"
    ) -> np.ndarray:
        """Return the array of rank ``root``, passed on along the ring; other ranks' ``array`` is not looked at."""
        following, previous = self._ring(group)[2:]
        if self.rank != root:
            array = self.recv(previous)
        if following != root:
            self.send(following, array, kind)
        return np.array(array)

    def all_to_all(
        self, parts, group: Sequence[int] | None = None, kind: str = "all_to_all"
    ) -> list[np.ndarray]:
        """Return the list of what each rank of the group had at this rank's place in its ``parts``."""
        place, size, _, _ = self._ring(group)
        ranks = list(range(self.size)) if group is None else list(group)
        if len(parts) != size:
            raise ValueError(f"{len(parts)} parts for a group of {size}")
        for other, part in zip(ranks, parts, strict=True):
            if other != self.rank:
                self.send(other, part, kind)
        return [np.array(parts[place]) if other == self.rank else self.recv(other) for other in ranks]

    def barrier(self, group: Sequence[int] | None = None) -> None:
        """Return when every rank of the group has called it; counts no bytes."""
        self.all_reduce(np.zeros(self._ring(group)[1], np.int8), group, "barrier")
        del self.sent["barrier"]
