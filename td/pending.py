"""What was asked of the worker and has no answer yet. Pure: no TouchDesigner, no socket, and the time is an argument.

    pending.submit("find_circles", {"image": "a.png"}, now)   gives the job's id
    pending.received(address, args, now)                      for each report that comes in
    pending.look(now)                                         every 100 ms while pending.busy()
    pending.take_packets()                                    what is to be sent: lists of (address, arguments)
    pending.take_news()                                       what happened: (word, job or text)

The rules are those of the worker's own client, `worker/client/core.py`; one set of tests is run against both. UDP loses packets, so:

- A job is sent again, under the same id, until any report about it comes. The worker knows the id and does not run it twice.
- The worker knows this component by where its reports go. It learns that from a hello, and forgets it when it is restarted. So if it was
  not heard just now, a job travels in one bundle behind a hello, one job at a time; the others follow as soon as it answers.
- A worker that lets us in by our token only sends a number first. Our hello comes again with it, at once; until then it does not hear us.
- A final is acknowledged each time it comes, and told once. Before that, rows and files that were lost are asked for.
- A new boot number in a welcome means that the worker was restarted: all jobs without a final are sent again.

Unlike that client, the component never gives up a job, because an artist may start the worker later.
"""

import bisect
import collections
import json
import re
import uuid

# The addresses, as in the worker's protocol.md. They are repeated here because this folder works without the worker's code.
HELLO = "/worker/hello"
BYE = "/worker/bye"
PING = "/worker/ping"
JOB = "/worker/job"
CANCEL = "/worker/cancel"
QUERY = "/worker/query"
ACK = "/worker/ack"
REPLAY = "/worker/replay"
DESCRIBE = "/worker/describe"
SET = "/worker/set"
UNSET = "/worker/unset"
TRIGGER = "/worker/trigger"
QUIT = "/worker/quit"
CHALLENGE = "/worker/challenge"
WELCOME = "/worker/welcome"
PONG = "/worker/pong"
STATUS = "/worker/status"
ACCEPTED = "/worker/accepted"
PROCESSING = "/worker/processing"
PROGRESS = "/worker/progress"
RESULT = "/worker/result"
FILE = "/worker/file"
SKIPPED = "/worker/skipped"
READY = "/worker/ready"
FAILED = "/worker/failed"
ERROR = "/worker/error"
OPERATION = "/worker/operation"
CATALOG = "/worker/catalog"
SOURCE = "/worker/source"
TRACKED = "/worker/tracked"

# These have the values and the names that they have in worker/client/core.py; a test holds them equal.
FIRST_RESEND_S = 0.1
QUICK_TRIES = 5  # each after twice the time of the one before; the later ones at the last interval
QUERY_TRIES = 16  # without anything new coming
LONGEST_QUERY_S = 2.0
PING_S = 5.0
STALE_S = 5.0  # an accepted job that is not heard of for this time is asked after
STALE_JOBS_AT_ONCE = 64
FRESH_S = 0.25  # a worker cannot have ended and started again within this time
MISSED_S = 2.5
ALWAYS_TOLD = 10000  # this many numbers come in datagrams in any case; if there are more, the rows may come in a file

# These are the component's own.
BEAT_S = 1.0  # the worker's heartbeat
ONE_BY_ONE_S = 0.05  # between jobs to a worker that is not heard; shorter than the time from look to look
GIVE_UP_GREETING_S = 15.0
DESCRIBE_TRIES = 8
PRESET_COPIES = 3
MOST_UNSETS = 2**20  # numbers of pings; then they begin again
PULSE_COPIES = 4  # each of the level 1 and of the level 0
SENT_AT_ONCE = 32  # jobs that have waited for the worker, in one frame
FRAME_S = 0.012  # two calls that are farther apart are of two frames
TOLD_AT_ONCE = 200  # acknowledgements or questions in one packet; it stays below what a Mac can send
KEPT_JOBS = 500
KEPT_IDS = 10000
LARGEST_PACKET = 60000

ENDED = ("Ready", "Failed", "Cancelled", "Refused")

_DIGITS = re.compile(r"0*([0-9]+)")
_LAST = "\U0010ffff"

_NUMBERS = {int, float}

EVERY = "*"  # the name under which the worker says what all operations have in common


class Operation:
    """What the worker says about an operation.

    Attributes:
        result: the last part of the address of its rows; empty if it has none.
        fields: the names of the numbers in a row.
        item: what one item is: `row`, or `file` if each is a file of its own.
        parameters: by name, what `/worker/describe` says: type, default, required, min, max, choices, unit, role, help.
    """

    def __init__(self, name, whole):
        self.name = name
        self.summary = str(whole.get("summary", ""))
        self.result = str(whole.get("result", ""))
        self.fields = tuple(whole.get("fields", ()))
        self.item = str(whole.get("item", "row"))
        self.parameters = dict(whole.get("parameters", {}))

    def least_files(self, pairs, items):
        """How many files a job has written at least that became ready with this many items. If each item is a file, there are as many.
        Otherwise each file that the job asks for (an overlay, a table) stands for one or more. `pairs` is None if that is not known.
        """
        if self.item == "file":
            return items
        return sum(self.parameters.get(key, {}).get("role") == "write" for key, value in pairs or () if value)


class Operations:
    """The operations that the worker has described, by name."""

    def __init__(self):
        self.known = collections.OrderedDict()
        self.every_job = {}  # the parameters that every job may have, beside its operation's own
        self._names = None  # of all that there are
        self._fresh = set()  # of those that have been described since `forget`
        self._parts = {}  # of descriptions that are not whole yet

    def add(self, name, text, part, parts):
        """Takes a description, or a part of one; whether it is whole now."""
        come = self._parts.setdefault(name, {})
        come[part] = text
        if len(come) < parts:
            return False
        del self._parts[name]
        whole = json.loads("".join(come[part] for part in sorted(come)))
        if name == EVERY:
            self._names, self.every_job = list(whole["operations"]), dict(whole["every_job"])
            for gone in [each for each in self.known if each not in self._names]:
                del self.known[gone]
        else:
            self.known[name] = Operation(name, whole)
            self._fresh.add(name)
        return True

    def forget(self):
        """The worker was started anew, and may be another version; or its operations have changed. What is known is used until then."""
        self._names = None
        self._fresh.clear()
        self._parts.clear()

    def are_known(self):
        return self._names is not None and all(name in self._fresh for name in self._names)

    def names(self, job, count):
        """The names of the numbers in a row. Over several images each row has one more number, that of its image."""
        own = self.known.get(job.operation)
        if own is None or own.result != job.kind:
            own = next((one for one in self.known.values() if one.result == job.kind), None)
        names = own.fields[:count] if own is not None else ()
        others = ["image"] if names and count == len(names) + 1 else [f"f{number}" for number in range(len(names), count)]
        return (*names, *others)

    def all_came(self, job):
        """Whether all rows and files of a job that is ready have come. It cannot be said about an operation that is not known."""
        operation = self.known.get(job.operation)
        if operation is None:
            return False
        if job.chunks:
            has_rows = len(job.chunks) == job.chunks_expected
        else:
            has_rows = not operation.result or job.items * len(operation.fields) >= ALWAYS_TOLD
        has_skipped = len(job.skipped) >= job.skipped_count
        return has_rows and has_skipped and job.files_count >= operation.least_files(job.pairs, job.items)


class Job:
    """All that is known of one job.

    Attributes:
        word: Sending, Accepted, Processing, Ready, Failed, Cancelled or Refused.
        files: (path, bytes, width, height) of each.
        skipped: (path, code, message) of each image of a folder that could not be read.
        rows: one tuple of numbers per item found; `fields` are the names of these numbers.
        left_out: how many items were found beyond max_items; then `message` says so.
        complete: whether all rows and files came that the worker spoke of; known when the job is ready.
        name: of a live job, as its addresses and channels call it.
        source: of a live job: Opening, Live, Lost or Ended.
        frame, delay_ms: of the picture that a live job has seen last; `tracks` are its rows, with the names `track_fields`.
    """

    def __init__(self, job_id, operation="", pairs=None):
        self.id = job_id
        self.operation = operation
        self.pairs = pairs  # None: not sent by this session, but by a trigger, or by an earlier one
        self.word = "Sending"
        self.position = 0
        self.attempt = 0
        self.progress = 0.0
        self.step = 0
        self.steps = 0
        self.wait_ms = 0
        self.run_ms = 0
        self.items = 0
        self.left_out = 0
        self.code = 0
        self.error = ""
        self.message = ""
        self.hint = ""
        self.kind = ""
        self.fields = ()
        self.complete = False
        self.accepted = False  # any report about it has come
        self.cancelling = False
        self.final = None  # the number of its `ready`, if that has come before the job's rows and files
        self.heard_at = 0.0
        self.pieces = 0  # chunks and files that have come
        self.chunks = {}  # by number: the numbers of one report, as they came
        self.chunks_expected = 0
        self.skipped_count = 0  # as the final says
        self.name = ""
        self.source = ""
        self.frame = -1
        self.delay_ms = 0.0
        self.tracks = []
        self.track_fields = ()
        self._sight_of = None  # the frame of a picture of which not all rows have come
        self._sight = {}  # its chunks
        self._skipped = {}  # by path
        self._files = {}  # by path; the answer to a query repeats them
        self._order = []  # of the files: each one's place and path, as one text

    @property
    def ended(self):
        return self.word in ENDED

    @property
    def files(self):
        """Images before tables, and a2.png before a10.png: the order of the inputs, whatever was lost on the way."""
        return [self._files[entry.rpartition("\0")[2]] for entry in self._order]

    @property
    def skipped(self):
        return [self._skipped[path] for path in sorted(self._skipped, key=_natural)]

    def add_skipped(self, skipped):
        """Whether it is news."""
        is_news = self._skipped.get(skipped[0]) != skipped
        self._skipped[skipped[0]] = skipped
        self.pieces += is_news
        return is_news

    @property
    def files_count(self):
        return len(self._files)

    def add_sight(self, frame, delay_ms, chunk, chunks, fields, numbers):
        """Takes note of some rows of a picture. Whether all of it have come; those of an older one are left."""
        if self._sight_of != frame:
            self._sight_of, self._sight = frame, {}
        self._sight[chunk] = numbers
        if len(self._sight) < chunks:
            return False
        all_numbers = [number for place in range(chunks) for number in self._sight.get(place, ())]
        self._sight_of, self.frame, self.delay_ms = None, frame, delay_ms
        self.tracks = [tuple(all_numbers[at : at + fields]) for at in range(0, len(all_numbers), fields)]
        return True

    @property
    def rows(self):
        count = max(1, len(self.fields))
        return [tuple(numbers[at : at + count]) for _, numbers in sorted(self.chunks.items()) for at in range(0, len(numbers), count)]

    def add_file(self, file):
        """Whether it is news. Its place is found here, once, because sorting 10,000 files in the frame in which they end takes 11 ms.
        It is a text because Python's collector goes through tuples and lists: with these a frame took up to 13 ms, once in 150.
        """
        known = self._files.get(file[0])
        if known == file:
            return False
        if known is not None:
            self._order.remove(_place(known))
        self._files[file[0]] = file
        entry = _place(file)
        if self._order and entry < self._order[-1]:
            bisect.insort(self._order, entry)
        else:
            self._order.append(entry)
        self.pieces += 1
        return True

    def is_older_than(self, seq):
        """Whether it had ended before this session began, at which the newest final had this number: nobody waits for it any more."""
        return self.pairs is None and self.word == "Sending" and seq is not None and 0 < (self.final or 0) <= seq

    def starts_again(self, now):
        """The worker was restarted."""
        self.accepted = False
        self.heard_at = now
        self.word = "Sending"
        self.attempt, self.progress = 0, 0.0
        self.chunks = {}


class _Resend:
    """A packet that is sent again until its answer comes: after 0.1 s, 0.2 s ... 1.6 s, 1.6 s ...

    Attributes:
        left: how many more times it is sent; None for no limit.
        gives_up_at: the time at which it ends; None for never.
        is_done: asked before each repetition; None if only an answer ends it.
    """

    def __init__(self, packet, now, left=None, gives_up_at=None, is_done=None):
        self.packet = packet
        self.at = now
        self.tries = 0
        self.left = left
        self.gives_up_at = gives_up_at
        self.is_done = is_done

    def is_over(self, now):
        return self.left == 0 or (self.gives_up_at is not None and now >= self.gives_up_at) or (self.is_done is not None and self.is_done())

    def sent(self, now):
        self.at = now + FIRST_RESEND_S * 2 ** min(self.tries, QUICK_TRIES - 1)
        self.tries += 1
        if self.left is not None:
            self.left -= 1


class Outbox:
    """What is to be sent now, what is sent again, and when a hello must go in front."""

    def __init__(self, name, text_port, number_port, token):
        self.name = name
        self.text_port = text_port
        self.number_port = number_port
        self.token = token
        self.heard_at = None
        self._hello_at = None
        self._said_at = None  # the last hello or ping; each of them keeps our lease
        self._nonce = 0  # the number that the worker wants to have back
        self._challenged_at = None
        self._resends = collections.OrderedDict()
        self._held: collections.deque = collections.deque()  # keys of those that wait until the worker is heard
        self._frame_at = None  # in which `_sent` of them have gone
        self._sent = 0
        self._train = []  # packets with a time of their own
        self._packets = []
        self._acks = {}  # by number, those of one frame

    def __bool__(self):
        return bool(self._resends or self._train)

    def has_packets(self):
        """Whether `take` gives anything."""
        return bool(self._packets or self._acks)

    def reports_to(self, text_port, number_port, token):
        """The ports and the token as they are now: they may change while this runs."""
        self.text_port, self.number_port, self.token = text_port, number_port, token

    def replay(self, now):
        """Asks for all finals that the worker remembers."""
        self.once([(REPLAY, [1])], now)

    def quit(self):
        """Asks the worker to finish its jobs and to end."""
        self.bare([(QUIT, [self.token])])

    def bye(self):
        """Nothing more is to be sent here."""
        self.bare([(BYE, [])])

    def age(self, now):
        """Seconds since the worker was last heard; -1 if it never was."""
        return -1.0 if self.heard_at is None else now - self.heard_at

    def take(self):
        packets, self._packets = self._packets, []
        acks, self._acks = list(self._acks.values()), {}
        return packets + [acks[at : at + TOLD_AT_ONCE] for at in range(0, len(acks), TOLD_AT_ONCE)]

    def acknowledge(self, seq):
        """The finals of a frame are acknowledged in one packet."""
        self._acks[seq] = (ACK, [seq])

    def heard(self, now):
        """The worker was heard."""
        self.heard_at = now
        if self._said_at is not None and now - self._said_at >= PING_S:
            self._said_at = now  # answering the heartbeat keeps it coming while we are idle, without a clock of ours
            self.bare([(PING, [0])])

    def bare(self, packet):
        """Sends once, as it is."""
        self._packets.append(packet)

    def once(self, packet, now):
        """Sends once. In front goes a hello, in one bundle, unless the worker was heard just now: a worker that was just restarted would
        take a job for another client's, send its reports elsewhere, and run it again after it has learned who we are.
        """
        self._packets.append(packet if packet[0][0] == HELLO or self._is_fresh(now) else [self.hello(now), *packet])

    def until_answered(self, key, packet, now, **limits):
        """Sends now if it may go now, and again until `answered`."""
        self._resends[key] = resend = _Resend(packet, now, **limits)
        if self.may_go(packet, now):
            self._transmit(resend, now)
        else:
            self._held.append(key)

    def forget(self, packet):
        """Nothing of this packet goes again, but the hello in front of it."""
        last = packet[-1]
        for key in [key for key, resend in self._resends.items() if last in resend.packet]:
            del self._resends[key]
        self._train = [entry for entry in self._train if entry[1][-1] != last]

    def release(self, now):
        """The worker was heard just now: what has waited for that goes, so many in each frame."""
        if self._held and (self._frame_at is None or now - self._frame_at >= FRAME_S):
            self._frame_at, self._sent = now, 0
        while self._held and self._sent < SENT_AT_ONCE:
            resend = self._resends.get(self._held.popleft())
            if resend is not None and resend.at <= now:
                self._transmit(resend, now)
                self._sent += 1

    def answered(self, *keys):
        for key in keys:
            self._resends.pop(key, None)

    def withdraw(self, key, address=None):
        """Nothing of this packet goes again, or of the messages in it that have this address. Returns them."""
        resend = self._resends.get(key)
        if resend is None:
            return []
        taken = [message for message in resend.packet if address in (None, message[0])]
        resend.packet = [message for message in resend.packet if message not in taken]
        if not resend.packet:
            del self._resends[key]
        return taken

    def is_first_try(self, kind):
        """Whether a packet of this kind waits for its answer and has gone once."""
        return any(key[0] == kind and resend.tries == 1 for key, resend in self._resends.items())

    def pulse(self, address, now):
        """The level 1 several times, then the level 0, behind those of the same address that still wait."""
        start = max([now] + [at + FIRST_RESEND_S for at, packet in self._train if packet[0][0] == address])
        levels = [1.0] * PULSE_COPIES + [0.0] * PULSE_COPIES
        self._train += [(start + number * FIRST_RESEND_S, [(address, [level])]) for number, level in enumerate(levels)]
        self.send_due(now)

    def send_due(self, now):
        for entry in [entry for entry in self._train if entry[0] <= now]:
            self.once(entry[1], now)
            self._train.remove(entry)
        due = [entry for entry in self._resends.items() if entry[1].at <= now]
        left = SENT_AT_ONCE
        for key, resend in sorted(due, key=lambda entry: entry[1].at):  # the one that has waited longest goes first
            if resend.is_over(now):
                del self._resends[key]
            elif left and self.may_go(resend.packet, now):
                self._transmit(resend, now)
                left -= 1

    def hello(self, now):
        self._hello_at = self._said_at = now
        return (HELLO, [self.name, self.text_port, self.number_port, "", self.token, 1] + ([self._nonce] if self._nonce else []))

    def challenged(self, nonce, now):
        """The worker wants a number back before it knows us. Several hellos may have been on their way; one goes again."""
        self._nonce = nonce
        if self._challenged_at is None or now - self._challenged_at >= FIRST_RESEND_S:
            self._challenged_at = now
            self.bare([self.hello(now)])

    def hello_again(self, now, after_s):
        """Says hello, unless that was done just now."""
        if self._hello_at is None or now - self._hello_at >= after_s:
            self.bare([self.hello(now)])

    def may_go(self, packet, now):
        """While the worker is not heard, one packet after the other: each goes behind a hello, and each hello is answered."""
        return packet[0][0] == HELLO or self._is_fresh(now) or self._hello_at is None or now - self._hello_at >= ONE_BY_ONE_S

    def _is_fresh(self, now):
        return self.heard_at is not None and now - self.heard_at <= FRESH_S

    def _transmit(self, resend, now):
        self.once([self.hello(now)] if resend.packet[0][0] == HELLO else resend.packet, now)
        resend.sent(now)


class _Search:
    """The questions for the rows and files of a job that is ready, and of which some were lost."""

    def __init__(self, job, now):
        self.job = job
        self.at = now
        self.delay = FIRST_RESEND_S
        self.asked_at = None
        self.tries = 0
        self.pieces_when_asked = 0

    def asks(self, now):
        """Whether to ask now. Never while the worker is still sending, because it would send everything twice."""
        if now < self.at:
            return False
        if self.asked_at is not None:  # at the same pace if it answered and a part was lost, otherwise more and more slowly
            answered = self.job.heard_at > self.asked_at
            self.delay = FIRST_RESEND_S if answered else min(2 * self.delay, LONGEST_QUERY_S)
            self.asked_at = None
        quiet_at = self.job.heard_at + FIRST_RESEND_S
        if now < quiet_at:
            self.at, self.delay = quiet_at, FIRST_RESEND_S
            return False
        if self.job.pieces > self.pieces_when_asked:
            self.tries, self.pieces_when_asked = 0, self.job.pieces
        return True

    def asked(self, now):
        self.tries += 1
        self.asked_at = now
        self.at = now + self.delay


class _Ledger:
    """The jobs: all that have not ended, the newest that have, and the ids of many more, to know a repeated report by."""

    def __init__(self):
        self.jobs = collections.OrderedDict()
        self.unfinished = collections.OrderedDict()
        self._ended: collections.deque = collections.deque()  # ids that are still in `jobs`, the oldest first
        self._ended_ids = collections.OrderedDict()

    def add(self, job, now):
        job.heard_at = now
        self.jobs[job.id] = self.unfinished[job.id] = job
        while len(self.jobs) > KEPT_JOBS and self._ended:
            del self.jobs[self._ended.popleft()]
        return job

    def find(self, job_id, now):
        """The job of a report, unless it has ended. Jobs of a trigger, and of an earlier session, are first heard of here."""
        if job_id in self._ended_ids:
            return None
        return self.jobs.get(job_id) or self.add(Job(job_id), now)

    def knows(self, job_id):
        return job_id in self.jobs or job_id in self._ended_ids

    def ended(self, job):
        self.unfinished.pop(job.id, None)
        self._ended.append(job.id)
        self._ended_ids[job.id] = None
        if len(self._ended_ids) > KEPT_IDS:
            self._ended_ids.popitem(last=False)

    def stale(self, now):
        """Accepted jobs of which nothing was heard for a while."""
        found = [job for job in self.unfinished.values() if job.accepted and job.final is None and now - job.heard_at > STALE_S]
        return found[:STALE_JOBS_AT_ONCE]


class _Silence:
    """How long the worker has been silent, counted from the moment at which something was wanted of it.

    Attributes:
        lost_after_s: then it counts as lost.
        lost: whether it does.
    """

    def __init__(self):
        self.lost_after_s = 3 * BEAT_S
        self.lost = False
        self._since = None
        self._looked_at = None

    def begins(self, now):
        self._since = self._looked_at = now

    def ends(self, now):
        """The worker was heard. Whether it had been lost."""
        self._since = now
        was_lost, self.lost = self.lost, False
        return was_lost

    def look(self, now):
        """Whether it is lost since just now."""
        if self._looked_at is not None and now - self._looked_at > self.lost_after_s:
            self._since = now  # we were away ourselves, so the silence says nothing
        self._looked_at = now
        is_new = not self.lost and self.seconds(now) >= self.lost_after_s
        self.lost = self.lost or is_new
        return is_new

    def seconds(self, now):
        return now - (self._since if self._since is not None else now)


class Pending:
    """See the module's docstring.

    Args:
        name: what the worker calls this component in its log.
        text_port, number_port: where its reports are to go.
        token: the worker's password, if it has one.
        session: makes the ids of this component differ from all others; made up if it is not given.
    """

    def __init__(self, name="TouchDesigner", text_port=9461, number_port=9462, token="", session=""):
        self.session = session or uuid.uuid4().hex[:8]
        self.operations = Operations()
        self.word = ""
        self.word_at = None  # when the worker said so
        self.running = self.queued = 0
        self.boot = None
        self._catalog_changes = None  # how often the worker's operations had changed when it last said so
        self.silence = _Silence()
        self.outbox = Outbox(name, text_port, number_port, token)
        self._ledger = _Ledger()
        self._stale_at = 0.0  # the last look for jobs not heard of
        self._unset_number = 0
        self._unsets = {}  # the presets' names by the numbers of the pings that show that they are deleted
        self._known_seq = None  # finals up to this one are older than this session
        self._made = 0
        self._searches = collections.OrderedDict()
        self._news = []

    # --------------------------------------------------------------------------------------------------- asking

    @property
    def jobs(self):
        """The jobs by id, the oldest first."""
        return self._ledger.jobs

    @property
    def lost(self):
        """Whether the worker should answer, and does not."""
        return self.silence.lost

    def submit(self, operation, params, now, later=False):
        """A new job; with `later` it is sent by `complete`.

        Raises:
            ValueError: a parameter cannot be sent.
        """
        pairs = pairs_of(operation, params)
        self._wake(now)
        self._made += 1
        job = self._ledger.add(Job(f"{self.session}-{self._made}", operation, pairs), now)
        if not later:
            self._send_job(job, now)
        return job.id

    def complete(self, job_id, params, now):
        """Sends a job that has waited for these parameters."""
        job = self._ledger.unfinished.get(job_id)
        if job is not None:
            self._wake(now)
            job.pairs += pairs_of(job.operation, params)
            self._send_job(job, now)

    def fail(self, job_id, word, message):
        """Ends a job that cannot be sent."""
        job = self._ledger.unfinished.get(job_id)
        if job is not None:
            job.error, job.message = word, message
            self._end(job, "Failed")

    def cancel(self, job_id, now):
        """Asks for the end of a job until its final comes. A job that was not accepted yet is cancelled when it is."""
        job = self.jobs.get(job_id)
        if job is not None and not job.ended and not job.cancelling and job.final is None:
            self._wake(now)
            job.cancelling = True
            if job.accepted:
                self.outbox.until_answered(("cancel", job_id), [(CANCEL, [job_id])], now)

    def watch(self, job_id, operation, now):
        """Asks how a job stands that an earlier session has sent."""
        if not self._ledger.knows(job_id):
            self._wake(now)
            self._send_job(self._ledger.add(Job(job_id, operation), now), now)

    def greet(self, now):
        """Says where the reports are to go, so that the heartbeat comes. Gives up after a while if nobody answers."""
        self._wake(now)
        self.outbox.until_answered(("hello", ""), [self.outbox.hello(now)], now, gives_up_at=now + GIVE_UP_GREETING_S)

    def preset(self, name, operation, params, now):
        """Sets all keys of a preset. Setting has no answer, so it is sent three times; that changes nothing."""
        name = name_of(name)
        packet = [(f"{SET}/{name}/{key}", [value]) for key, value in [("operation", operation), *pairs_of(operation, params)]]
        earlier = []  # so that none of them, sent again, deletes what is new
        for number in [number for number, unset in self._unsets.items() if unset == name]:
            del self._unsets[number]
            earlier += [message for message in self.outbox.withdraw(("unset", number)) if message[0] == UNSET]
        self._wake(now)
        self.outbox.until_answered(("preset", name), earlier + packet, now, left=PRESET_COPIES)

    def unset(self, name, key, now):
        """Deletes one key of a preset, or all of it. The answer to a ping behind it shows that the worker has read it."""
        name, key = name_of(name), text_of("key", key)
        self.outbox.withdraw(("preset", name), f"{SET}/{name}/{key}" if key else None)
        number = self._unset_number = self._unset_number % MOST_UNSETS + 1
        self._unsets[number] = name
        self._wake(now)
        self.outbox.until_answered(("unset", number), [(UNSET, [name, key]), (PING, [number])], now)

    def trigger(self, name, now):
        """A press. The worker starts one job at the first level 1 that it sees."""
        address = f"{TRIGGER}/{name_of(name)}"
        self._wake(now)
        self.outbox.pulse(address, now)

    # ------------------------------------------------------------------------------------------------- the time

    def busy(self):
        """Whether `look` must be called again soon: every 100 ms does."""
        return bool(self.outbox or self._ledger.unfinished)

    def look(self, now):
        """Sends again what has no answer, and notices silence."""
        if self.silence.look(now):
            self._tell("lost", None)
        is_near = self.silence.seconds(now) <= MISSED_S
        if is_near and now - self._stale_at >= BEAT_S:
            self._ask_after_stale_jobs(now)
        self._send_due(now)
        if not is_near:
            self.outbox.hello_again(now, BEAT_S)  # not needed if a job went just now, behind a hello

    def has_output(self):
        """Whether `take_packets` or `take_news` gives anything."""
        return bool(self._news) or self.outbox.has_packets()

    def take_packets(self):
        """What is to be sent: each a list of (address, arguments)."""
        return self.outbox.take()

    def cannot_send(self, packet, why):
        """TouchDesigner refuses a packet. Nothing of it is sent again: it would be refused again, and all others would wait behind it."""
        self.outbox.forget(packet)
        self._tell("error", f"{packet[-1][0]} could not be sent: {why}")
        for address, arguments in packet:
            if address == JOB:
                self.fail(arguments[0], "arguments", f"The job could not be sent: {why}")

    def take_news(self):
        """What happened since the last call: (word, job or text)."""
        news, self._news = self._news, []
        return news

    # --------------------------------------------------------------------------------------------------- reports

    def received(self, address, args, now):
        """Takes note of one report. What cannot be understood is news, too, and no error."""
        handler = HANDLERS.get(address)
        if handler is None and not address.startswith((RESULT + "/", TRACKED + "/")):
            return
        args = list(args)
        if args == [""]:  # how TouchDesigner may show "no arguments"
            args = []
        knows_us = address != CHALLENGE
        if knows_us:
            self._heard(now)
        try:
            if handler is not None:
                handler(self, args, now)
            elif address.startswith(RESULT):
                self._result(address[len(RESULT) + 1 :], args, now)
            else:
                self._tracked(address[len(TRACKED) + 1 :], args, now)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            self._tell("error", f"{address} {args} was not understood: {error}")
        if knows_us:
            self.outbox.release(now)

    def _heard(self, now):
        self.outbox.heard(now)
        if self.silence.ends(now):
            self._tell("back", None)

    def _notice_boot(self, boot, now):
        """Only a welcome says for certain that the worker was restarted, because an old report may come late. So we say hello."""
        if self.boot is None:
            self.boot = boot
        elif boot != self.boot:
            self.outbox.hello_again(now, BEAT_S / 2)

    def _challenge(self, args, now):
        self.outbox.challenged(int(args[0]), now)

    def _welcome(self, args, now):
        boot, _lease_ms, newest_seq = [int(part) for part in args[2:5]]
        if self._known_seq is None:
            self._known_seq = newest_seq
        self.outbox.answered(("hello", ""))
        if self.boot is not None and boot != self.boot:
            for job in [job for job in self._ledger.unfinished.values() if job.accepted and job.final is None]:
                job.starts_again(now)
                self._send_job(job, now)
        if boot != self.boot:
            self.operations.forget()
            self._catalog_changes = None
        self._ask_what_there_is(now)
        self.boot = boot

    def _ask_what_there_is(self, now):
        if not self.operations.are_known():  # each is a report of its own and may be lost
            self.outbox.until_answered(("describe", ""), [(DESCRIBE, [])], now, left=DESCRIBE_TRIES, is_done=self.operations.are_known)

    def _catalog_changed(self, args, now):
        changes, message = int(args[0]), str(args[1])
        if self._catalog_changes is not None and changes == self._catalog_changes:
            return
        if self._catalog_changes is not None or self.operations.are_known():  # otherwise they are being described just now
            self.operations.forget()
            self._ask_what_there_is(now)
        self._catalog_changes = changes
        self._tell("catalog", message)

    def _pong(self, args, now):
        self._notice_boot(int(args[1]), now)
        if self._unsets.pop(int(args[0]), None) is not None:
            self.outbox.answered(("unset", int(args[0])))

    def _status(self, args, now):
        word, running, queued, boot = args[:4]
        self.word, self.running, self.queued, self.word_at = str(word), int(running), int(queued), now
        self._tell("status", None)
        self._notice_boot(int(boot), now)

    def _operation(self, args, now):
        name = str(args[0])
        if self.operations.add(name, str(args[1]), int(args[2]), int(args[3])):
            self._tell("operation", name)
            for search in [search for search in self._searches.values() if search.job.operation == name]:
                self._end_if_complete(search.job)

    def _accepted(self, args, now):
        position = int(args[1])
        job = self._ledger.find(str(args[0]), now)
        if job is None:
            return
        is_news = not job.accepted
        self._arrived(job, now)
        if is_news:
            job.word = "Accepted"
            job.position = position
            self._tell("accepted", job)

    def _processing(self, args, now):
        attempt = int(args[1])
        job = self._ledger.find(str(args[0]), now)
        if job is None:
            return
        self._arrived(job, now)
        if attempt > job.attempt and job.final is None:
            job.attempt, job.progress = attempt, 0.0
            self._under_way(job)

    def _progress(self, args, now):
        fraction, step, steps, note = float(args[1]), int(args[2]), int(args[3]), str(args[5])
        job = self._ledger.find(str(args[0]), now)
        if job is None:
            return
        self._arrived(job, now)
        if fraction > job.progress and job.final is None:
            if job.word != "Processing":  # the report that it had started was lost
                self._under_way(job)
            job.progress, job.step, job.steps, job.message = fraction, step, steps, note
            self._tell("progress", job)

    def _under_way(self, job):
        job.word = "Processing"
        job.position = 0
        self._tell("processing", job)

    def _result(self, kind, args, now):
        chunk, chunks, _first, _total, fields = [int(part) for part in args[1:6]]
        job = self._ledger.find(str(args[0]), now)
        if job is None:
            return
        self._arrived(job, now)
        if chunk not in job.chunks:
            job.chunks[chunk] = args[6:]
            if job.kind != kind or len(job.fields) != fields:
                job.kind = kind
                job.fields = self.operations.names(job, fields)
            job.chunks_expected = chunks
            job.pieces += 1
        self._end_if_complete(job)

    def _source(self, args, now):
        name, word, message = str(args[1]), str(args[2]), str(args[3])
        job = self._ledger.find(str(args[0]), now)
        if job is None:
            return
        self._arrived(job, now)
        if job.final is not None:
            return
        if job.word != "Processing":  # the report that it had started was lost
            self._under_way(job)
        if (job.source, job.message) != (word, message):
            job.name, job.source, job.message = name, word, message
            self._tell("source", job)

    def _tracked(self, name, args, now):
        frame, delay_ms, chunk, chunks, _first, _total, fields = int(args[1]), float(args[2]), *[int(part) for part in args[3:8]]
        job = self._ledger.find(str(args[0]), now)
        if job is None:
            return
        self._arrived(job, now)
        job.name = name
        if job.add_sight(frame, delay_ms, chunk, chunks, fields, args[8:]):
            if len(job.track_fields) != fields or job.track_fields[:1] == ("f0",):  # the worker had not described it yet
                job.kind = job.kind or "tracks"
                job.track_fields = self.operations.names(job, fields)
            if ("tracked", job) not in self._news:  # the newest counts
                self._tell("tracked", job)

    def _file(self, args, now):
        told = (str(args[1]), int(args[2]), int(args[3]), int(args[4]))
        job = self._ledger.find(str(args[0]), now)
        if job is None:
            return
        self._arrived(job, now)
        if job.add_file(told):
            self._tell("file", (job, told))
        self._end_if_complete(job)

    def _skipped(self, args, now):
        told = (str(args[1]), int(args[2]), str(args[3]))
        job = self._ledger.find(str(args[0]), now)
        if job is None:
            return
        self._arrived(job, now)
        if job.add_skipped(told):
            self._tell("skipped", (job, told))
        self._end_if_complete(job)

    def _ready(self, args, now):
        seq, boot, wait_ms, run_ms, items = [int(part) for part in args[1:6]]
        operation = str(args[6])
        job = self._final(args[0], seq, boot, now)
        if job is None or job.final is not None:
            return
        job.skipped_count = int(args[7]) if len(args) > 7 else 0
        job.left_out = int(args[8]) if len(args) > 8 else 0
        if job.left_out:
            job.message = f"found {items + job.left_out}, {items} listed (max_items)"
        job.final, job.wait_ms, job.run_ms, job.items, job.operation = seq, wait_ms, run_ms, items, operation
        if job.is_older_than(self._known_seq):
            self._end(job, "Ready")
        elif not self._end_if_complete(job):
            self._searches[job.id] = _Search(job, now)

    def _failed(self, args, now):
        seq, boot, code = [int(part) for part in args[1:4]]
        if not args[0]:  # a trigger, or a job of somebody else at our port, was refused: there is no job
            self._tell("error", f"{code} {args[5]}")
            return
        if seq == 0 and self._is_forgotten(str(args[0]), boot, now):
            return
        job = self._final(args[0], seq, boot, now)
        if job is None:
            return
        job.final, job.code, job.error, job.message, job.hint = (seq, code, *[str(part) for part in args[4:7]])
        self._end(job, "Refused" if seq == 0 else "Cancelled" if code == 499 else "Failed")

    def _is_forgotten(self, job_id, boot, now):
        """Whether a refusal only says that the worker no longer knows what it was asked about."""
        job = self._ledger.unfinished.get(job_id)
        if job is not None and job.id in self._searches:  # it is ready; what it found is not remembered
            self._end(job, "Ready")
            return True
        if job is not None and job.accepted and self.boot is not None and boot != self.boot:
            self._notice_boot(boot, now)  # it was accepted by an earlier start of the worker; it will be sent again
            return True
        return False

    def _error(self, args, now):
        if args[1] == UNSET and not self.outbox.is_first_try("unset"):
            return  # it says only that an earlier copy has arrived
        self._tell("error", f"{int(args[0])} {args[1]}: {args[2]}")

    # ------------------------------------------------------------------------------------------------- jobs

    def _wake(self, now):
        """From here on silence counts, if it did not before."""
        if not self.busy():
            self.silence.begins(now)

    def _send_job(self, job, now):
        """Sends a job until it is accepted. Of a job of an earlier session we only know the id; so we ask how it stands."""
        if job.pairs is None:
            job.word = "Accepted"
            packet = [(QUERY, [job.id])]
        else:
            packet = [(JOB, [job.id, job.operation] + [part for pair in job.pairs for part in pair])]
        self.outbox.until_answered(("job", job.id), packet, now)

    def _arrived(self, job, now):
        """A report about a job: it need not be sent again."""
        job.heard_at = now
        if not job.accepted:
            job.accepted = True
            self.outbox.answered(("job", job.id))
            if job.cancelling:
                self.outbox.until_answered(("cancel", job.id), [(CANCEL, [job.id])], now)

    def _final(self, job_id, seq, boot, now):
        """Acknowledges a final, and returns its job; None if it had ended before."""
        if seq:
            self.outbox.acknowledge(seq)
            self._notice_boot(boot, now)
        job = self._ledger.find(str(job_id), now)
        if job is not None:
            self._arrived(job, now)
        return job

    def _end_if_complete(self, job):
        """Ends a job that is ready if everything has come that its final speaks of."""
        if job.final is not None and self.operations.all_came(job):
            job.complete = True
            self._end(job, "Ready")
        return job.complete

    def _end(self, job, word):
        """The only place where a job ends."""
        is_old = job.is_older_than(self._known_seq)
        job.word = word
        job.position = 0
        if word == "Ready":
            job.progress = 1.0
            job.fields = self.operations.names(job, len(job.fields))
        self.outbox.answered(("job", job.id), ("cancel", job.id))
        self._searches.pop(job.id, None)
        self._ledger.ended(job)
        self._tell("old" if is_old else "ready" if word == "Ready" else "failed", job)

    def _ask_after_stale_jobs(self, now):
        """The worker does not repeat a final for ever, and TouchDesigner may have stood still meanwhile."""
        self._stale_at = now
        stale = self._ledger.stale(now)
        for job in stale:
            job.heard_at = now
        if stale:
            self.outbox.bare([(QUERY, [job.id]) for job in stale])

    def _send_due(self, now):
        self.outbox.send_due(now)
        for search in list(self._searches.values()):
            if search.asks(now):
                self._ask_for_the_rest(search, now)

    def _ask_for_the_rest(self, search, now):
        job = search.job
        packet = [(QUERY, [job.id])]
        if job.operation not in self.operations.known:
            packet.insert(0, (DESCRIBE, [job.operation]))
        if search.tries >= QUERY_TRIES:
            self._end(job, "Ready")  # some of its rows or files did not come
        elif self.outbox.may_go(packet, now):
            self.outbox.once(packet, now)
            search.asked(now)

    def _tell(self, word, what):
        self._news.append((word, what))


#: What is done with each report.
HANDLERS = {
    CHALLENGE: Pending._challenge,
    WELCOME: Pending._welcome,
    PONG: Pending._pong,
    STATUS: Pending._status,
    ACCEPTED: Pending._accepted,
    PROCESSING: Pending._processing,
    PROGRESS: Pending._progress,
    FILE: Pending._file,
    SKIPPED: Pending._skipped,
    READY: Pending._ready,
    FAILED: Pending._failed,
    ERROR: Pending._error,
    OPERATION: Pending._operation,
    CATALOG: Pending._catalog_changed,
    SOURCE: Pending._source,
}


def _place(file):
    """Among the files of its job, as a text that ends with its path: images first."""
    return f"{0 if file[2] else 1}{_natural(file[0])}\0{file[0]}"


def _natural(text):
    """A key that sorts a2.png before a10.png: numbers of fewer digits first."""
    key = _DIGITS.sub(_sized, text)
    return _LAST + key if "0" <= text[:1] <= "9" else key


def _sized(digits):
    return f"\1{chr(len(digits[1]))}{digits[1]}"


def pairs_of(operation, params):
    """The parameters of a job as pairs that can be sent.

    Raises:
        ValueError: one cannot be sent, or all together are too long.
    """
    if not isinstance(operation, str) or not operation:
        raise ValueError(f"The operation is a name, one of the table operations; this is {operation!r:.100}.")
    pairs = [(str(key), plain(key, value)) for key, value in params.items() if value is not None]
    size = sum(len(str(part).encode("utf-8", "replace")) + 8 for pair in pairs for part in pair)
    if size > LARGEST_PACKET:
        raise ValueError(f"{operation}: the parameters have {size} bytes, and the limit is {LARGEST_PACKET}; put them into a file.")
    return pairs


def plain(key, value):
    """A parameter as one of the types that every OSC receiver reads: whole numbers, numbers, text."""
    value = _unpacked(value)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value if -(2**31) <= value < 2**31 else str(value)
    if isinstance(value, float):
        return value
    if isinstance(value, dict) or _is_table(value):
        return json.dumps(value, ensure_ascii=False, default=_in_json)
    if isinstance(value, (list, tuple)):  # such as centers: x y x y ...
        is_numbers = set(map(type, value)) <= _NUMBERS
        return " ".join(map(str, value) if is_numbers else (str(plain(key, part)) for part in value))
    if isinstance(value, (bytes, bytearray)):
        raise ValueError(f"{key}: bytes cannot be sent; images travel as file paths.")
    if hasattr(value, "OPType"):
        advice = "The pixels of a TOP go with top=op(...), the text of a DAT with op(...).text, a file with its path."
        raise ValueError(f"{key}: {value.path} is an operator. {advice}")
    return text_of(key, value)  # of a path, a parameter, a cell


def text_of(key, value):
    """A value as text that OSC can carry. Raises ValueError if it cannot."""
    text = str(value)
    if "\0" in text:
        raise ValueError(f"{key}: a text with a NUL cannot be sent.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{key}: {text!a:.100} has half a character in it, which cannot be sent.") from None
    return text


def _unpacked(value):
    """Arrays and numbers of NumPy as Python's."""
    return value.tolist() if hasattr(value, "tolist") else value


def _in_json(value):
    """What JSON does not know."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _is_table(value):
    """Whether this is a list of rows that are not numbers alone, such as the cells of a table; only JSON says which belong together."""
    if not isinstance(value, (list, tuple)):
        return False
    rows = [part for part in value if isinstance(part, (list, tuple))]
    return any(isinstance(part, dict) for part in value) or any(
        not isinstance(_unpacked(cell), (int, float, list, tuple)) for row in rows for cell in row
    )


def name_of(name):
    """The name of a preset, as it stands in addresses. Raises ValueError if it cannot."""
    if not isinstance(name, str) or not name or "/" in name:
        raise ValueError(f"The name of a preset is a text without '/'; this is {name!r:.100}.")
    return text_of("name", name)
