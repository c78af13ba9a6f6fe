"""The table "Measure" of the wire: every row beside the C floor, nghttpd and the peers of
../shared/bench-peers, in the same run, on the same processors, with the same TLS and message."""

import contextlib
import functools
import pathlib
import statistics
import tempfile

from . import instructions, messages, servers
from .load import Load, per_call, per_connect
from .machine import SERVER_CPU, allow_descriptors, resident_bytes, run, say
from .programs import FLOOR, build_peers
from .report import ratios

CROWD, WATCH_CONNECTIONS, WATCH_STREAMS, RECONNECTS = 10_000, 50, 20, 200
SHAPE = {"connections": 8, "streams": 32}
ROWS = ("echo", "submit", "latency", "handshake", "reconnect", "idle", "crowd", "fanout",
        "scaling", "instructions")
BESIDE_PEERS = {"echo", "submit", "handshake", "idle"}
CPP, SWIFT = ("grpc_cpp_cq", "grpc_cpp_cb"), ("grpc_swift", "grpc_swift_takeover")


def best(series, names):
    """Of several servers, the repeats of the one with the lowest median; none if none is there."""
    there = [series[name] for name in names if name in series]
    return min(there, key=statistics.median) if there else None


class Wire:
    """One run: what is measured with, and how often and long."""

    def __init__(self, report, work, short):
        self.report, self.work, self.short = report, work, short
        self.load = Load(work, report)
        self.repeats = 1 if short else 5
        self.time = {"seconds": 0.3, "warmup": 0.1} if short else {"seconds": 2, "warmup": 0.5}

    def run(self, rows):
        rows = rows or ROWS
        self.peers = build_peers(self.short) if BESIDE_PEERS & set(rows) else []
        for name in rows:
            if self.short and name == "instructions":
                continue  # takes its time however short it is, and Deploy/test has it as a gate
            say(f"wire: {name}")
            self.report.begin(f"wire: {name}")
            getattr(self, name)()
            for share in ("stolen", "disturbed"):
                self.report.add(f"{name}_{share}_percent", self.load.taken(share), "%")

    def interleaved(self, makers, measure):
        """Measures every server once before any is measured again, each time a fresh process, and
        every other time in the opposite order. Returns the repeats by server."""
        series = {}
        for repeat in range(self.repeats):
            for make in makers if repeat % 2 == 0 else makers[::-1]:
                with make() as server:
                    series.setdefault(server.name, []).append(measure(server))
        return series

    def transports(self, peers=True):
        """Ours between those that it is compared with, then the peers."""
        makers = [lambda: servers.floor(self.work), lambda: servers.echo_server(self.work),
                  lambda: servers.nghttpd(self.work)]
        return makers + (self.peer_makers() if peers else [])

    def peer_makers(self, names=None):
        """The peers that there are, or those of them that have one of the names."""
        return [lambda peer=peer: servers.peer_server(peer, self.work) for peer in self.peers
                if names is None or peer.name in names]

    def add_all(self, series, suffix, unit):
        for name, values in series.items():
            self.report.add(f"{name}_{suffix}", values, unit)

    def compare(self, name, ours, theirs, **reach):
        """A ratio of repeats, if what it is to is there."""
        if ours is not None and theirs is not None:
            self.report.add(name, ratios(ours, theirs), "ratio", **reach)

    # Unary calls

    def echo(self):
        def measure(server):
            figures = self.load.measure("calls", server, **SHAPE, **self.time)
            return per_call(figures), figures["calls"] / figures["seconds"]

        both = self.interleaved(self.transports(), measure)
        cpu = {name: [values[0] for values in repeats] for name, repeats in both.items()}
        self.add_all(cpu, "call_cpu_us", "us")
        self.add_all({name: [values[1] for values in repeats] for name, repeats in both.items()},
                     "calls_per_second", "1/s")
        self.compare("echo_cpu_per_nghttpd_cpu", cpu["echo"], cpu["nghttpd"], at_most=1.0)
        self.compare("echo_cpu_per_floor_cpu", cpu["echo"], cpu["floor"], at_most=1.25)
        self.compare("echo_cpu_per_c_floor_peer_cpu", cpu["echo"], cpu.get("c_floor_peer"),
                     at_most=1.25)
        self.compare("grpc_cpp_cpu_per_echo_cpu", best(cpu, CPP), cpu["echo"])
        self.compare("grpc_swift_cpu_per_echo_cpu", best(cpu, SWIFT), cpu["echo"])

    def triaged(self):
        """The daemon on an empty state, beside the build, which is a real disk."""
        return servers.triaged(pathlib.Path(tempfile.mkdtemp(prefix="state-", dir=self.work)))

    def submit(self):
        def measure(server):
            figures = self.load.measure("calls", server, **SHAPE, **self.time)
            return per_call(figures), figures["calls"] / figures["seconds"]

        makers = [lambda: servers.volatile(self.work), self.triaged,
                  lambda: servers.nghttpd(self.work)]
        makers += self.peer_makers(CPP + SWIFT)
        both = self.interleaved(makers, measure)
        cpu = {name: [values[0] for values in repeats] for name, repeats in both.items()}
        for name, title, most in (("volatile", "submit_unjournaled", 6.5),
                                  ("triaged", "submit_durable", 9)):
            self.report.add(f"{title}_call_cpu_us", cpu[name], "us", at_most=most)
            self.report.add(f"{title}_calls_per_second", [values[1] for values in both[name]],
                            "1/s")
            self.compare(f"grpc_cpp_cpu_per_{title}_cpu", best(cpu, CPP), cpu[name], at_least=5)
            self.compare(f"grpc_swift_cpu_per_{title}_cpu", best(cpu, SWIFT), cpu[name],
                         at_least=10)
        self.compare("submit_durable_cpu_per_nghttpd_cpu", cpu["triaged"], cpu["nghttpd"])
        self.submit_deep()

    def submit_deep(self):
        """The daemon at twice as many streams, and alone on the wire."""
        many, single = [], []
        for _ in range(self.repeats):
            with self.triaged() as server:
                many.append(self.load.measure("calls", server, connections=8, streams=64,
                                              **self.time))
                single.append(self.load.measure("calls", server, connections=1, streams=1, poll=1,
                                                **self.time))
        self.report.add("submit_durable_512_calls_per_second",
                        [f["calls"] / f["seconds"] for f in many], "1/s", at_least=60_000)
        self.report.add("submit_durable_512_call_cpu_us", [per_call(f) for f in many], "us",
                        at_most=12)
        for name in ("p50_us", "p99_us"):
            self.report.add(f"submit_durable_512_{name}", [f[name] for f in many], "us")
        disk = self.report.values["machine_disk_append_p50_us"]
        p50 = [f["p50_us"] for f in single]
        self.report.add("submit_single_p50_us", p50, "us", at_most=disk + 150)
        self.report.add("submit_single_p50_per_disk_p50", [value / disk for value in p50], "ratio")

    def latency(self):
        """One call at a time, beside a TLS echo over the same libraries and the same client."""
        series = {name: [] for name in ("tls_echo", "floor", "echo")}
        for _ in range(self.repeats):
            with servers.floor(self.work) as server:
                series["tls_echo"].append(self.load.measure("echo", server, streams=1, **self.time))
                series["floor"].append(self.load.measure("calls", server, connections=1, streams=1,
                                                         **self.time))
            with servers.echo_server(self.work) as server:
                series["echo"].append(self.load.measure("calls", server, connections=1, streams=1,
                                                        **self.time))
        for point in ("p50_us", "p99_us"):
            values = {name: [f[point] for f in repeats] for name, repeats in series.items()}
            self.add_all(values, f"single_{point}", "us")
            self.compare(f"echo_single_{point}_per_tls_echo", values["echo"], values["tls_echo"],
                         at_most=1.2)
            # The same libraries, nghttp2 among them, which the bare TLS echo does without.
            self.compare(f"echo_single_{point}_per_floor", values["echo"], values["floor"],
                         at_most=1.2)
            self.compare(f"floor_single_{point}_per_tls_echo", values["floor"],
                         values["tls_echo"])

    # Connections

    def handshake(self):
        def measure(server):
            full = self.load.measure("connects", server, connections=8, **self.time)
            resumed = self.load.measure("connects", server, connections=8, resume=1, **self.time)
            if resumed["resumed"] < resumed["connects"]:
                say(f"{server.name} resumed {resumed['resumed']} of {resumed['connects']}")
            return per_connect(full), per_connect(resumed)

        both = self.interleaved(self.transports(), measure)
        for index, kind, least in ((0, "full", 1.55), (1, "resumed", 2.4)):
            cpu = {name: [values[index] for values in repeats] for name, repeats in both.items()}
            self.add_all(cpu, f"handshake_{kind}_cpu_us", "us")
            self.compare(f"handshake_{kind}_cpu_per_floor_cpu", cpu["echo"], cpu["floor"],
                         at_most=1.05)
            self.compare(f"handshake_{kind}_cpu_per_c_floor_peer_cpu", cpu["echo"],
                         cpu.get("c_floor_peer"), at_most=1.05)
            self.compare(f"grpc_cpp_handshake_{kind}_cpu_per_echo_cpu", best(cpu, CPP),
                         cpu["echo"], at_least=least)

    def reconnect(self):
        """Established calls while clients reconnect, on one reactor."""
        for kind, resume in (("full", 0), ("resumed", 1)):
            alone, beside = [], []
            for _ in range(self.repeats):
                with servers.echo_server(self.work) as server:
                    calls = functools.partial(self.load.measure, "calls", server, **SHAPE,
                                              **self.time)
                    alone.append(calls()["p99_us"])
                    other = self.load.beside("connects", server, connections=32, rate=RECONNECTS,
                                             resume=resume, warmup=0, seconds=60)
                    beside.append(calls()["p99_us"])
                    other.kill()
                    other.wait()
            self.report.add(f"reconnect_{kind}_p99_us", beside, "us")
            self.compare(f"reconnect_{kind}_p99_per_p99_alone", beside, alone, at_most=2)

    @contextlib.contextmanager
    def held(self, server, count):
        """So many connections that stay open and do nothing."""
        holder = self.load.beside("hold", server, connections=count)
        try:
            if not holder.stdout.readline():
                raise SystemExit(f"bench: {server.name} does not hold {count} connections")
            yield
        finally:
            holder.communicate(timeout=120)

    def idle(self):
        """Memory of an idle connection, in a process that has served calls before."""
        count = 100 if self.short else 1000

        def measure(server):
            self.load.measure("calls", server, **SHAPE, seconds=0.5, warmup=0.1)
            before = resident_bytes(server.pid)
            with self.held(server, count):
                return (resident_bytes(server.pid) - before) / count / 1024

        makers = self.transports(peers=False)
        makers[1] = lambda: servers.echo_server(self.work, f"connections={count + 100}")
        makers += self.peer_makers()
        series = self.interleaved(makers, measure)
        for name in series:
            self.report.add(f"{name}_idle_connection_kib", series[name], "KiB",
                            **({"at_most": 42} if name == "echo" else {}))

    def crowd(self):
        """Load on eight connections, by turns on a server with nobody else and on one with ten
        thousand idle connections: what moves the machine within a minute is in both."""
        count = 500 if self.short else CROWD
        allow_descriptors(2 * count)
        alone, among = [], []
        with (servers.echo_server(self.work) as lonely,
              servers.echo_server(self.work, f"connections={count + 100}") as crowded,
              self.held(crowded, count - 8)):
            for _ in range(1 if self.short else 2 * self.repeats):
                alone.append(self.load.measure("calls", lonely, **SHAPE, **self.time))
                among.append(self.load.measure("calls", crowded, **SHAPE, **self.time))
        rates = [[f["calls"] / f["seconds"] for f in figures] for figures in (among, alone)]
        self.compare("crowd_rate_per_rate_alone", *rates, at_least=0.9)
        self.compare("crowd_cpu_per_cpu_alone", [per_call(f) for f in among],
                     [per_call(f) for f in alone], at_most=1.1)

    # Streams

    def fanout(self):
        """One event to a thousand board watches of the daemon, 20 on each of 50 connections, on a
        board with so many cases that a copy of what a watch knows would show; beside the C floor,
        which sends as many bytes on as many streams and knows nothing of an event."""
        connections, cases = (5, 500) if self.short else (WATCH_CONNECTIONS, 50_000)

        def measure(server, watch):
            return self.load.measure(
                "fanout", server, repeatable=False, connections=connections,
                streams=WATCH_STREAMS, calls=20 if self.short else 300, identity="dana",
                caller="classifier", watch=watch.path, watch_message=watch.file(self.work),
                # So that waking the client is no part of what the server takes.
                poll=1)

        ours, floor, disk = [], [], []
        for _ in range(self.repeats):
            disk.append(self.paced_disk())
            with servers.floor(self.work) as server:
                floor.append(measure(server, messages.watch()))
            with self.triaged() as server:
                self.load.once(self.load.words("calls", server, **SHAPE, calls=cases), server)
                # The watches go on from here, so that they do not begin with the whole board.
                status = servers.triagectl(server, "status", "--identity", "sre")
                ours.append(measure(server, messages.board(int(status["durableSequence"]))))
        # From the call, so with its write to the disk, the end of which nobody sees from outside.
        for name, reach in (("sent_to_each_p99", 2000), ("sent_to_last_p50", None),
                            ("sent_to_last_p99", 2000), ("last_p50", None), ("last_p99", None),
                            ("each_p99", None)):
            self.report.add(f"fanout_{name}_us", [f[f"{name}_us"] for f in ours], "us",
                            at_most=reach)
        for name in ("sent_to_each_p99_us", "sent_to_last_p50_us", "sent_to_last_p99_us"):
            self.report.add(f"floor_fanout_{name}", [f[name] for f in floor], "us")
        for name in ("p50", "p99"):
            self.report.add(f"fanout_disk_{name}_us", [d[f"disk_paced_{name}"] for d in disk], "us")
        self.report.add("fanout_left_out_percent",
                        [100 * f["left_out"] / f["events"] for f in ours], "%")
        cpu = [[f["server_cpu_us"] / f["events"] / f["watches"] for f in figures]
               for figures in (ours, floor)]
        self.report.add("fanout_stream_cpu_us", cpu[0], "us", at_most=2)
        self.report.add("floor_fanout_stream_cpu_us", cpu[1], "us")
        self.compare("fanout_stream_cpu_per_floor_cpu", *cpu)

    def paced_disk(self):
        """What one write and its sync take on the server's CPU when one comes each millisecond, as
        in a fan-out: the C floor of which has no disk."""
        text = run([FLOOR / "floor-disk", self.work / "paced", 20 if self.short else 300, 1000],
                   cpu=SERVER_CPU)
        return {name: float(value) for name, value in (line.split() for line in text.splitlines())}

    # Cores

    def scaling(self):
        """A core that has a reactor and a client of its own, and then two such cores."""
        one, two = [], []
        for _ in range(self.repeats):
            one.append(self.cores("0"))
            two.append(self.cores("0,1"))
        self.report.add("scaling_one_core_calls_per_second", [f[0] for f in one], "1/s")
        self.report.add("scaling_two_cores_calls_per_second", [f[0] for f in two], "1/s")
        self.compare("scaling_rate_per_core_two_per_one", [f[0] / 2 for f in two],
                     [f[0] for f in one], at_least=0.85)
        self.compare("scaling_cpu_per_call_two_per_one", [f[1] for f in two], [f[1] for f in one],
                     at_most=1 / 0.85)

    def cores(self, cpus):
        """Calls a second and server CPU a call, with one reactor and one client on each CPU."""
        each = cpus.split(",")
        options = [f"reactors={len(each)}", f"cpus={cpus}"]
        with servers.echo_server(self.work, *options, cpu=cpus) as server:
            return self.load.together(server, each, connections=32, streams=8, **self.time)

    def instructions(self):
        instructions.count(self.report, self.work)
