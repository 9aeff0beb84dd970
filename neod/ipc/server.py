"""Connections: who is accepted, who is attended to, and in which order. Knows no route.

A peer can be slow, silent, gone, garbled or many; none of that is let through to the others or
to the daemon.

One task, the desk, attends to all connections as long as there is nothing to wait for: it lets
in who knocks, reads what has come, and answers what can be answered at a glance. Whatever else
is asked is left to a Conversation in a task of its own, which gives the connection back once
all is answered. So a peer that is silent costs no task, and one that asks for what is there
costs two system calls.
"""

import errno
import select
import socket
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import trio

from neod import config, log
from neod.clock import SYSTEM, Clock
from neod.ipc.clients import Client
from neod.ipc.conversation import Conversation, Respond, isolated
from neod.ipc.descriptors import Spare
from neod.ipc.http1 import Problem, encode
from neod.ipc.peers import Peer, peer_of
from neod.ipc.reads import HEAD_SHORT, Ready

BATCH = 64  # connections that have their turn before the rest of the daemon has its own
FAREWELLS = 64  # peers that are listened to, at a time, while they are turned away
PAUSE = 0.1  # seconds in which nobody is accepted, since there is no descriptor
AT_ONCE = socket.MSG_DONTWAIT

# The whole answer to what was received; None where it takes a conversation.
Glance = Callable[[bytes, Client], Ready | None]
# Why a peer is not served, None if it is.
Admit = Callable[[Peer], Problem | None]


class Connection:
    """A connection of a peer, which is either silent or in a conversation."""

    __slots__ = ("client", "conversation", "descriptor", "events", "queue", "since", "socket")

    def __init__(self, accepted: socket.socket, now: float) -> None:
        self.socket = accepted
        self.descriptor = accepted.fileno()
        self.client = Client(peer_of(accepted), now)
        self.events: int | None = None  # what the poller watches for
        self.conversation: Conversation | None = None
        self.queue: Silent | None = None
        self.since = 0.0  # trio's time, since when it is in the queue


class Silent(OrderedDict[int, Connection]):
    """Connections whose peers say nothing, by descriptor; the one that does so longest is first."""

    def __init__(self, patience: float) -> None:
        super().__init__()
        self.patience = patience  # seconds

    def first(self) -> Connection:
        return next(iter(self.values()))

    def end(self) -> float:
        """When the patience with the first is over."""
        return self.first().since + self.patience if self else float("inf")


class Server:
    """Serves HTTP to all who connect to a socket."""

    _desk: trio.CancelScope
    _tasks: trio.Nursery

    def __init__(
        self,
        listening: socket.socket,
        respond: Respond,
        *,
        glance: Glance = lambda _received, _client: None,
        admit: Admit = lambda _: None,
        clients: set[Client] | None = None,
        limits: config.Server | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        """Whoever is connected is in `clients`, for others to see."""
        self._listening = listening
        self._respond = respond
        self._glance = glance
        self._admit = admit
        self._clients = set() if clients is None else clients
        self.limits = limits or config.Server()
        self._clock = clock
        self._connections: dict[int, Connection] = {}  # by descriptor
        self._fresh = Silent(self.limits.head_timeout)  # of those who never said anything …
        self._kept = Silent(self.limits.idle_timeout)  # … and who had an answer
        self._farewells = 0
        self._spare = Spare()
        self._trouble = log.Seldom()
        self._resume = float("inf")  # trio's time, when accepting goes on
        self._poller = select.epoll()
        self._draining = False

    def adopt(self, limits: config.Server) -> None:
        """Have these limits from now on; a conversation goes on with those it began with."""
        self.limits = limits
        self._fresh.patience = limits.head_timeout
        self._kept.patience = limits.idle_timeout

    async def serve(
        self,
        *,
        handler_nursery: trio.Nursery,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; close the socket then, and send away who is silent.

        Who waits for an answer gets it yet, in the nursery, which is the caller's to end.
        """
        self._tasks = handler_nursery
        self._listening.setblocking(False)
        with self._spare, self._poller:
            try:
                self._poller.register(self._listening, select.EPOLLIN)
                task_status.started()
                while True:
                    await self._wait()
                    self._turn_to_all()
                    self._look_at_the_clock()
            finally:
                self._drain()
                self._listening.close()

    def listen_on(self, listening: socket.socket) -> None:
        """Serve those who come to another socket from now on; who has come already stays.

        The one of before is closed, and so is this one at the end.
        """
        if self._draining:
            listening.close()
            return
        while self._accept() == BATCH:
            pass
        self._poller.unregister(self._listening)
        self._listening.close()
        self._listening = listening
        self._listening.setblocking(False)
        self._poller.register(self._listening, select.EPOLLIN)
        self._resume = float("inf")

    # The desk: nothing in this part waits, but for the first.

    async def _wait(self) -> None:
        """Until somebody has said something, or has been silent for too long."""
        end = min(self._fresh.end(), self._kept.end(), self._resume)
        with trio.CancelScope(deadline=end) as self._desk:
            await trio.lowlevel.wait_readable(self._poller)

    def _turn_to_all(self) -> None:
        """Turn to who has said something, until nobody has or others of the daemon have to run."""
        turns = 0
        while turns < BATCH and (told := self._poller.poll(0, BATCH)):
            for descriptor, _events in told:
                turns += self._turn_to(descriptor)

    def _turn_to(self, descriptor: int) -> int:
        """Turn to one who has said something, or to the door; returns how many that were."""
        if descriptor == self._listening.fileno():
            return self._accept()
        connection = self._connections[descriptor]
        if connection.conversation is None:
            self._safely(self._attend_to, connection)
        else:  # then a hang-up is all that is watched for
            self._poller.unregister(descriptor)
            connection.events = None
            connection.conversation.hang_up()
        return 1

    def _accept(self) -> int:
        for count in range(BATCH):
            try:
                accepted, _address = self._listening.accept()
            except BlockingIOError:
                return count
            except OSError as error:
                self._cannot_accept(error)
                return count + 1
            self._safely(self._let_in, Connection(accepted, self._clock.boot()))
        return BATCH

    def _let_in(self, connection: Connection) -> None:
        most = self.limits.max_connections
        if len(self._connections) >= most:
            self._turn_away(connection, _too_many(f"{most} are open already"))
        elif problem := self._admit(connection.client.peer):
            self._turn_away(connection, problem)
        else:
            self._clients.add(connection.client)
            self._attend_to(connection)

    def _attend_to(self, connection: Connection) -> None:
        """Answer what the peer asks, or see to it that it is answered."""
        try:
            received = connection.socket.recv(HEAD_SHORT, AT_ONCE)
        except BlockingIOError:
            if connection.queue is None:
                self._put(connection, self._fresh)
            return
        except OSError:
            received = b""
        if not received:
            self._close(connection)
            return
        ready = None if self._draining else self._glance(received, connection.client)
        if ready is None:
            self._converse(connection, received)
        else:
            self._give(connection, ready)

    def _give(self, connection: Connection, ready: Ready) -> None:
        try:
            sent = connection.socket.send(ready.answer, AT_ONCE)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(connection)
            return
        if sent < len(ready.answer):
            self._converse(connection, unsent=ready.answer[sent:], last=not ready.keep_alive)
        elif ready.keep_alive:
            self._put(connection, self._kept)
        else:
            self._close(connection)

    def _turn_away(self, connection: Connection, problem: Problem) -> None:
        """Say why; listen for a moment, if there are not too many who have to be listened to."""
        if self._farewells < FAREWELLS:
            self._farewells += 1
            self._tasks.start_soon(self._say_farewell, connection, problem)
        else:
            _say_at_once(connection.socket, problem)
            self._close(connection)

    def _cannot_accept(self, error: OSError) -> None:
        """Turn one away with the descriptor that is spare, or leave all at the door for a while.

        None is left there to wait for a descriptor, since nobody can tell when there is one.
        """
        left_out = self._trouble.left_out(trio.current_time())
        if left_out is not None:
            log.warning("accept", error=error.strerror, left_out=left_out)
        if error.errno in (errno.EMFILE, errno.ENFILE) and self._spare.give():
            with suppress(OSError):
                accepted, _address = self._listening.accept()
                with accepted:
                    _say_at_once(accepted, _too_many("neod has no file descriptor left"))
            if self._spare.take_back():
                return
        self._poller.modify(self._listening, 0)
        self._resume = trio.current_time() + PAUSE

    def _look_at_the_clock(self) -> None:
        now = trio.current_time()
        if self._resume <= now:
            self._resume = float("inf")
            self._spare.take_back()
            self._poller.modify(self._listening, select.EPOLLIN)
        for queue in (self._fresh, self._kept):
            while queue.end() <= now:
                self._send_away(queue.first())

    def _drain(self) -> None:
        self._draining = True
        self._accept()  # who is at the door has been let in by the kernel already
        for connection in list(self._connections.values()):
            if connection.conversation is None:
                self._send_away(connection)
            else:
                connection.conversation.drain()

    def _send_away(self, connection: Connection) -> None:
        """Close on who is silent. What has just been said is answered yet."""
        since = connection.since
        self._safely(self._attend_to, connection)
        if connection.queue is not None and connection.since == since:
            self._close(connection)

    def _safely(self, act: Callable[[Connection], None], connection: Connection) -> None:
        """A bug in what is done for one connection must not end the daemon."""
        try:
            act(connection)
        except Exception as error:  # noqa: BLE001 - see above
            log.error("bug", exc_info=error)
            self._close(connection)

    # Where connections are.

    def _put(self, connection: Connection, queue: Silent) -> None:
        """Leave it until the peer says something."""
        connection.since = trio.current_time()
        if connection.queue is queue:
            queue.move_to_end(connection.descriptor)
            return
        self._take_out(connection)
        self._connections[connection.descriptor] = queue[connection.descriptor] = connection
        connection.queue = queue
        self._watch(connection, select.EPOLLIN)
        self._desk.deadline = min(self._desk.deadline, queue.end())

    def _take_out(self, connection: Connection) -> None:
        if connection.queue is not None:
            del connection.queue[connection.descriptor]
            connection.queue = None

    def _watch(self, connection: Connection, events: int) -> None:
        """Have the poller tell of this. It tells of a hang-up in any case."""
        if connection.events is None:
            self._poller.register(connection.descriptor, events)
        elif connection.events != events:
            self._poller.modify(connection.descriptor, events)
        connection.events = events

    def _close(self, connection: Connection) -> None:
        self._take_out(connection)
        if connection.events is not None and not self._draining:
            # Closing would do, were there not children that hold a copy until they exec.
            self._poller.unregister(connection.descriptor)
        connection.events = None
        self._connections.pop(connection.descriptor, None)
        self._clients.discard(connection.client)
        connection.socket.close()

    # Tasks.

    def _converse(
        self,
        connection: Connection,
        received: bytes = b"",
        unsent: bytes = b"",
        *,
        last: bool = False,
    ) -> None:
        """Leave it to a conversation, which begins with the rest of an answer if there is one."""
        self._take_out(connection)
        self._connections[connection.descriptor] = connection
        self._watch(connection, 0)
        connection.conversation = self._conversation(connection, received)
        if self._draining:
            connection.conversation.drain()
        talk = partial(self._talk, connection, connection.conversation, unsent, last=last)
        self._tasks.start_soon(talk)

    def _conversation(self, connection: Connection, received: bytes = b"") -> Conversation:
        return Conversation(
            trio.SocketStream(trio.socket.from_stdlib_socket(connection.socket)),
            self._respond,
            self.limits,
            client=connection.client,
            received=received,
        )

    async def _talk(
        self, connection: Connection, conversation: Conversation, unsent: bytes, *, last: bool
    ) -> None:
        kept = False
        with isolated():
            try:
                if not unsent or await conversation.send(unsent):
                    kept = not last and await conversation.answer()
            finally:
                connection.conversation = None
                if kept and not self._draining:
                    self._safely(partial(self._put, queue=self._kept), connection)
                else:
                    self._close(connection)

    async def _say_farewell(self, connection: Connection, problem: Problem) -> None:
        with isolated():
            try:
                await self._conversation(connection).refuse(problem)
            finally:
                self._farewells -= 1
                self._close(connection)


def _say_at_once(peer: socket.socket, problem: Problem) -> None:
    with suppress(OSError):  # what is unread when a Unix socket closes is an error to the peer
        peer.recv(HEAD_SHORT, AT_ONCE)
    with suppress(OSError):
        peer.send(encode(problem.response(), keep_alive=False), AT_ONCE)


def _too_many(why: str) -> Problem:
    return Problem("too_many_connections", why)


def only(uid: int) -> Admit:
    """Admit the peers of one user: nobody else, and root is somebody else."""
    knocks = log.Seldom()

    def admit(peer: Peer) -> Problem | None:
        if peer.uid == uid:
            return None
        left_out = knocks.left_out(trio.current_time())
        if left_out is not None:
            log.warning("foreign_peer", uid=peer.uid, pid=peer.pid, left_out=left_out)
        return Problem(
            "forbidden",
            f"this is the neod of uid {uid}, and you are uid {peer.uid}",
            action=f"sudo -u '#{uid}' neoctl …; in a container: run it with --user {uid}",
        )

    return admit
