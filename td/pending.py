"""What has been asked of the worker and not been answered yet. Pure: no TouchDesigner, no socket, and the time is an argument.

    pending.submit("find_circles", {"image": "a.png"}, now)   gives the job's id
    pending.received(address, args, now)                      for each report that comes in
    pending.look(now)                                         now and then while pending.busy(now)
    pending.take_packets()                                    what is to be sent: lists of (address, arguments)
    pending.take_news()                                       what happened: (word, job or text)

UDP loses packets, so: a job is sent again until it is accepted (after 100 ms, 200 ms, 400 ms ...); its final is acknowledged, and a
repeated final is dropped; a worker that has been silent for three of its beats is `Lost`; after a new boot number every unfinished
job is sent again under the same id, by which the worker knows it, so that nothing runs twice.
"""

import collections
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
SET = "/worker/set"
TRIGGER = "/worker/trigger"
QUIT = "/worker/quit"
WELCOME = "/worker/welcome"
PONG = "/worker/pong"
STATUS = "/worker/status"
ACCEPTED = "/worker/accepted"
PROCESSING = "/worker/processing"
PROGRESS = "/worker/progress"
RESULT = "/worker/result"
FILE = "/worker/file"
READY = "/worker/ready"
FAILED = "/worker/failed"
ERROR = "/worker/error"

# The numbers of one row of a result, by the last part of its address; and the operations that tell rows.
FIELDS = {
    "circles": ("x", "y", "radius", "u", "v", "score"),
    "features": ("x", "y", "size", "angle", "response", "u", "v"),
}
HAVE_ROWS = ("draw_circles", "find_circles", "find_features")
# Operations whose number of items is the number of their files.
ITEMS_ARE_FILES = ("convert", "draw_circles", "write_text")
FEW_ROWS = 1000  # more may be told by a file instead

FIRST_RESEND_S = 0.1
LONGEST_RESEND_S = 5.0
BEAT_S = 1.0  # the worker's heartbeat
KEEP_ALIVE_S = 5.0  # well within the lease of 15 s
HELLO_AGAIN_S = 0.25  # shorter than any restart of a worker takes
GIVE_UP_GREETING_S = 15.0
PRESET_COPIES = 3
PULSE_COPIES = 4  # each of the level 1 and of the level 0
QUERIES = 10  # for rows and files that were lost; each brings four of five even where a fifth of all packets is lost
LONGEST_QUERY_S = 1.0
KEPT_JOBS = 500
KEPT_IDS = 10000
LARGEST_PACKET = 60000

ENDED = ("Ready", "Failed", "Cancelled", "Refused")


class Job:
    """All that is known of one job. `word` is one of Sending, Accepted, Processing, Ready, Failed, Cancelled, Refused.

    `files` holds (path, bytes, width, height), `rows` one tuple of numbers per item found, `fields` the names of these numbers.
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
        self.code = 0
        self.message = ""
        self.hint = ""
        self.files = []
        self.paths = set()  # of `files`: a query tells them again
        self.kind = ""
        self.fields = ()
        self.chunks = {}
        self.chunks_expected = 0

    @property
    def ended(self):
        return self.word in ENDED

    @property
    def rows(self):
        return [row for _, rows in sorted(self.chunks.items()) for row in rows]

    @property
    def complete(self):
        """Whether all rows and files have come that its final speaks of."""
        rows_missing = self.operation in HAVE_ROWS and not self.chunks_expected and 0 < self.items < FEW_ROWS
        files_missing = self.operation in ITEMS_ARE_FILES and len(self.files) < self.items
        return not rows_missing and not files_missing and len(self.chunks) == self.chunks_expected


class _Resend:
    """A packet that is sent again, each time after twice the wait, until its answer comes or `left` copies have gone."""

    def __init__(self, packet, now, left=None, gives_up_at=None, longest=LONGEST_RESEND_S):
        self.packet = packet
        self.at = now
        self.wait = FIRST_RESEND_S
        self.left = left
        self.gives_up_at = gives_up_at
        self.longest = longest

    def is_over(self, now):
        return self.left == 0 or (self.gives_up_at is not None and now >= self.gives_up_at)

    def sent(self, now):
        self.at = now + self.wait
        self.wait = min(2 * self.wait, self.longest)
        if self.left is not None:
            self.left -= 1


class Pending:
    """See the module's docstring.

    Args:
        name: what the worker calls this component in its log.
        text_port, number_port: where its reports are to go.
        token: the worker's password, if it has one.
        session: makes the ids of this component differ from all others; made up where it is not given.
    """

    def __init__(self, name="TouchDesigner", text_port=9461, number_port=9462, token="", session=""):
        self.name = name
        self.text_port = text_port
        self.number_port = number_port
        self.token = token
        self.session = session or uuid.uuid4().hex[:8]
        self.lost_after_s = 3 * BEAT_S
        self.jobs = collections.OrderedDict()
        self.word = ""
        self.running = 0
        self.queued = 0
        self.boot = None
        self.lost = False
        self.heard_at = None
        self._quiet_since = None  # when to begin to count the silence
        self._looked_at = None
        self._hello_at = None
        self._said_at = None  # the last hello or ping; each of them keeps our lease
        self._known_seq = None  # finals up to this one are older than this session
        self._made = 0
        self._resends = collections.OrderedDict()
        self._train = []  # packets with a time of their own
        self._packets = []
        self._news = []
        self._unfinished = collections.OrderedDict()
        self._ended: collections.deque = collections.deque()  # ids that are still in `jobs`, the oldest first
        self._ended_ids = collections.OrderedDict()  # many more, to know a repeated final by
        self._handlers = {
            WELCOME: self._welcome,
            PONG: self._pong,
            STATUS: self._status,
            ACCEPTED: self._accepted,
            PROCESSING: self._processing,
            PROGRESS: self._progress,
            FILE: self._file,
            READY: self._ready,
            FAILED: self._failed,
            ERROR: self._error,
        }

    # --------------------------------------------------------------------------------------------------- asking

    def submit(self, operation, params, now):
        """A new job.

        Raises:
            ValueError: a parameter cannot travel.
        """
        pairs = [(str(key), plain(key, value)) for key, value in params.items() if value is not None]
        size = sum(len(str(part).encode("utf-8", "replace")) + 8 for pair in pairs for part in pair)
        if size > LARGEST_PACKET:
            raise ValueError(f"{operation}: the parameters are {size} bytes long, one packet takes {LARGEST_PACKET}; put them into a file.")
        self._wake(now)
        self._made += 1
        job = self._keep(Job(f"{self.session}-{self._made}", operation, pairs))
        self._send_job(job, now)
        return job.id

    def cancel(self, job_id, now):
        """Asks for the end of a job, until its final comes."""
        job = self.jobs.get(job_id)
        if job is not None and not job.ended:
            self._wake(now)
            self._send(("cancel", job_id), _Resend([(CANCEL, [job_id])], now), now)

    def watch(self, job_id, operation, now):
        """Asks how a job stands that an earlier session has sent."""
        if job_id not in self.jobs and job_id not in self._ended_ids:
            self._wake(now)
            job = self._keep(Job(job_id, operation))
            job.word = "Accepted"
            self._ask_again(job, now)

    def greet(self, now):
        """Says where the reports are to go, so that the heartbeat comes. Gives up after a while if nobody answers."""
        self._wake(now)
        self._send(("hello", ""), _Resend([self._hello(now)], now, gives_up_at=now + GIVE_UP_GREETING_S), now)

    def preset(self, name, operation, params, now):
        """Sets all keys of a preset. Setting has no answer, so it is sent three times; that changes nothing."""
        pairs = [("operation", operation), *((key, plain(key, value)) for key, value in params.items() if value is not None)]
        packet = [(f"{SET}/{name}/{key}", [value]) for key, value in pairs]
        self._wake(now)
        self._send(("preset", name), _Resend(packet, now, left=PRESET_COPIES), now)

    def trigger(self, name, now):
        """A press: the level 1 several times, then the level 0. The worker starts one job at the first 1 that it sees."""
        self._wake(now)
        address = f"{TRIGGER}/{name}"
        start = max([now] + [at + FIRST_RESEND_S for at, packet in self._train if packet[0][0] == address])
        levels = [1.0] * PULSE_COPIES + [0.0] * PULSE_COPIES
        self._train += [(start + number * FIRST_RESEND_S, [(address, [level])]) for number, level in enumerate(levels)]
        self._send_due(now)

    def replay(self):
        """Asks for all finals that the worker remembers."""
        self._packets.append([(REPLAY, [1])])

    def quit(self):
        """Asks the worker to finish its jobs and to end."""
        self._packets.append([(QUIT, [self.token])])

    def bye(self):
        """Nothing more is to be sent here."""
        self._packets.append([(BYE, [])])

    # ------------------------------------------------------------------------------------------------- the time

    def busy(self):
        """Whether `look` must be called again soon: every 100 ms does."""
        return bool(self._resends or self._train or self._unfinished)

    def look(self, now):
        """Sends again what has not been answered, and notices silence."""
        if self._looked_at is not None and now - self._looked_at > self.lost_after_s:
            self._quiet_since = now  # we were away ourselves, so the silence says nothing
        self._looked_at = now
        quiet = now - (self._quiet_since if self._quiet_since is not None else now)
        if quiet >= self.lost_after_s and not self.lost:
            self.lost = True
            self._tell("lost", None)
        interval = BEAT_S if quiet > 1.5 * BEAT_S else KEEP_ALIVE_S
        if self._hello_at is None or now - self._hello_at >= interval:
            self._packets.append([self._hello(now)])
        self._send_due(now)

    def age(self, now):
        """Seconds since the worker was last heard; -1 if it never was."""
        return -1.0 if self.heard_at is None else now - self.heard_at

    def take_packets(self):
        packets, self._packets = self._packets, []
        return packets

    def take_news(self):
        news, self._news = self._news, []
        return news

    # --------------------------------------------------------------------------------------------------- reports

    def received(self, address, args, now):
        """Takes note of one report. What cannot be understood is news, too, and no error."""
        args = [] if list(args) == [""] else list(args)  # how TouchDesigner may show "no arguments"
        try:
            if address.startswith(RESULT + "/"):
                self._result(address[len(RESULT) + 1 :], args, now)
            elif address in self._handlers:
                self._handlers[address](args, now)
            else:
                return
        except (IndexError, TypeError, ValueError) as error:
            self._tell("error", f"{address} {args} was not understood: {error}")
            return
        self._heard(now)

    def _heard(self, now):
        self.heard_at = self._quiet_since = now
        if self.lost:
            self.lost = False
            self._tell("back", None)
            self._ask_for_all(now)
        if self._said_at is not None and now - self._said_at >= KEEP_ALIVE_S:
            self._said_at = now  # answering the heartbeat keeps it coming while we are idle, without a clock of ours
            self._packets.append([(PING, [0])])

    def _booted(self, boot, now):
        """After a new boot number the worker may know neither us nor our jobs."""
        if boot == self.boot:
            return
        is_new = self.boot is not None
        self.boot = boot
        if is_new and not self.lost:  # else `_heard` does it
            self._packets.append([self._hello(now)])
            self._ask_for_all(now)

    def _welcome(self, args, now):
        _version, _protocol, boot, _lease_ms, newest_seq = args[:5]
        if self._known_seq is None:
            self._known_seq = int(newest_seq)
        self._resends.pop(("hello", ""), None)
        self._booted(int(boot), now)

    def _pong(self, args, now):
        self._booted(int(args[1]), now)

    def _status(self, args, now):
        word, running, queued, boot = args[:4]
        self.word, self.running, self.queued = str(word), int(running), int(queued)
        self._tell("status", None)
        self._booted(int(boot), now)

    def _accepted(self, args, now):
        job = self._job(args[0])
        if job is None:
            return
        self._resends.pop(("job", job.id), None)
        self._resends.pop(("query", job.id), None)
        if job.word == "Sending":
            job.word = "Accepted"
            job.position = int(args[1])
            self._tell("accepted", job)

    def _processing(self, args, now):
        job = self._job(args[0])
        if job is None:
            return
        self._resends.pop(("job", job.id), None)
        is_news = job.word != "Processing" or job.attempt != int(args[1])
        job.attempt = int(args[1])
        self._under_way(job)
        if is_news:
            self._tell("processing", job)

    def _progress(self, args, now):
        job = self._job(args[0])
        if job is None:
            return
        self._resends.pop(("job", job.id), None)
        job.progress, job.step, job.steps, job.message = float(args[1]), int(args[2]), int(args[3]), str(args[5])
        if job.word != "Processing":  # the report that it had started was lost
            self._under_way(job)
            self._tell("processing", job)
        self._tell("progress", job)

    def _under_way(self, job):
        job.word = "Processing"
        job.position = 0
        self._resends.pop(("query", job.id), None)

    def _result(self, kind, args, now):
        job = self._job(args[0])
        if job is None:
            return
        chunk, chunks, _first, _total, fields = [int(part) for part in args[1:6]]
        numbers = args[6:]
        job.kind = kind
        job.fields = FIELDS.get(kind, ())[:fields] or tuple(f"f{number}" for number in range(fields))
        job.fields += tuple(f"f{number}" for number in range(len(job.fields), fields))
        job.chunks_expected = chunks
        job.chunks[chunk] = [tuple(numbers[at : at + fields]) for at in range(0, len(numbers), fields)]

    def _file(self, args, now):
        job = self._job(args[0])
        if job is None:
            return
        told = (str(args[1]), int(args[2]), int(args[3]), int(args[4]))
        if told[0] not in job.paths:
            job.paths.add(told[0])
            job.files.append(told)
            self._tell("file", (job, told))

    def _ready(self, args, now):
        job_id, seq, _boot, wait_ms, run_ms, items, operation = args[:7]
        job = self._final(job_id, int(seq))
        if job is None:
            return
        job.wait_ms, job.run_ms, job.items, job.operation = int(wait_ms), int(run_ms), int(items), str(operation)
        query = self._resends.get(("query", job.id))
        if job.complete or self._is_old(job, int(seq)):
            self._end(job, "Ready", int(seq))
        elif query is None or query.left is None:  # rows or files were lost: a query tells them again
            self._send(("query", job.id), _Resend([(QUERY, [job.id])], now, left=QUERIES, longest=LONGEST_QUERY_S), now)

    def _failed(self, args, now):
        job_id, seq, _boot, code, _word, message, hint = args[:7]
        job = self._final(job_id, int(seq))
        if job is None:
            return
        job.code, job.message, job.hint = int(code), str(message), str(hint)
        if int(seq) == 0:
            self._end(job, "Refused", 0)
        else:
            self._end(job, "Cancelled" if job.code == 499 else "Failed", int(seq))

    def _error(self, args, now):
        self._tell("error", f"{int(args[0])} {args[1]}: {args[2]}")

    # ------------------------------------------------------------------------------------------------------ inside

    def _wake(self, now):
        """From here on silence counts, if it did not before."""
        if not self.busy():
            self._quiet_since = self._looked_at = now

    def _keep(self, job):
        self.jobs[job.id] = self._unfinished[job.id] = job
        while len(self.jobs) > KEPT_JOBS and self._ended:
            del self.jobs[self._ended.popleft()]
        return job

    def _job(self, job_id):
        """The job of a report, unless it has ended. Jobs of a trigger, and of an earlier session, are first heard of here."""
        job_id = str(job_id)
        if job_id in self._ended_ids:
            return None
        return self.jobs.get(job_id) or self._keep(Job(job_id))

    def _final(self, job_id, seq):
        """Acknowledges a final; the job, unless it was told before."""
        if seq:
            self._packets.append([(ACK, [seq])])
        return self._job(job_id)

    def _is_old(self, job, seq):
        """Whether it had ended before this session began: it is shown, but nobody waits for it."""
        return job.pairs is None and job.word == "Sending" and self._known_seq is not None and 0 < seq <= self._known_seq

    def _end(self, job, word, seq):
        is_old = self._is_old(job, seq)
        job.word = word
        job.position = 0
        if word == "Ready":
            job.progress = 1.0
        for kind in ("job", "query", "cancel"):
            self._resends.pop((kind, job.id), None)
        self._unfinished.pop(job.id, None)
        self._ended.append(job.id)
        self._ended_ids[job.id] = None
        if len(self._ended_ids) > KEPT_IDS:
            self._ended_ids.popitem(last=False)
        self._tell("old" if is_old else "ready" if word == "Ready" else "failed", job)

    def _ask_for_all(self, now):
        for job in list(self._unfinished.values()):
            self._ask_again(job, now)

    def _ask_again(self, job, now):
        """Our jobs are sent again, under the same id; of the others we only know the id."""
        if job.pairs is None:
            self._send(("query", job.id), _Resend([(QUERY, [job.id])], now), now)
        else:
            self._send_job(job, now)

    def _send_job(self, job, now):
        arguments = [job.id, job.operation] + [part for pair in job.pairs for part in pair]
        self._send(("job", job.id), _Resend([(JOB, arguments)], now), now)

    def _send(self, key, resend, now):
        """Sends now, and again until the entry is taken away."""
        self._resends[key] = resend
        self._packets.append(self._introduced(resend.packet, now))
        resend.sent(now)

    def _send_due(self, now):
        for at, packet in [entry for entry in self._train if entry[0] <= now]:
            self._packets.append(packet)
            self._train.remove((at, packet))
        for key, resend in list(self._resends.items()):
            if resend.at <= now and resend.is_over(now):
                self._give_up(key)
            elif resend.at <= now:
                self._send(key, resend, now)

    def _hello(self, now):
        self._hello_at = self._said_at = now
        return (HELLO, [self.name, self.text_port, self.number_port, "", self.token, 1])

    def _introduced(self, packet, now):
        """A job goes with a hello in front, in one bundle. Else a worker that has just restarted would take it for a stranger's,
        who gets his reports elsewhere, and would run it again when we say who we are.
        """
        if packet[0][0] == HELLO or (self._hello_at is not None and now - self._hello_at < HELLO_AGAIN_S):
            return packet
        return [self._hello(now), *packet]

    def _give_up(self, key):
        self._resends.pop(key)
        if key[0] == "query":
            job = self.jobs[key[1]]
            self._end(job, "Ready", 0)  # its final has come; some of its rows or files were not told

    def _tell(self, word, what):
        self._news.append((word, what))


def plain(key, value):
    """A parameter as one of the types that every OSC receiver reads: whole numbers, numbers, text."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value if -(2**31) <= value < 2**31 else str(value)
    if isinstance(value, (float, str)):
        return value
    if isinstance(value, (list, tuple)):  # such as centers: x y x y ...
        return " ".join(str(plain(key, part)) for part in value)
    if isinstance(value, (bytes, bytearray)):
        raise ValueError(f"{key}: bytes cannot be sent; images travel as file paths.")
    return str(value)  # a path, a parameter, a cell
