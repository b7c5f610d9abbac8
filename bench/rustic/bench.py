"""What it takes to start agents of Rustic AI, with Guildhall and without: `make bench-rustic`.

Everything is measured in turns in one run, on the same Redis, with the same class of agent,
until the agent is subscribed. Nothing here fails a build: a goal that is missed is said.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import guildhall
from guildhall.rustic import GuildhallExecutionEngine
from report import Report
from rustic_ai.core.guild.dsl import GuildSpec
from rustic_ai.core.guild.execution.execution_engine import ExecutionEngine
from rustic_ai.core.guild.execution.multiprocess.multiprocess_exec_engine import MultiProcessExecutionEngine
from rustic_ai.core.messaging import SimpleClient
from workload import Workload, children, cpu_seconds, pss, redis_server, until

BATCH = 50
"""Agents that are started at once."""

AT_ONCE = BATCH
"""Calls of `run_agent` that an app makes at once in a batch."""

PAUSE = 0.15
"""Seconds between two starts that are timed one at a time: agents come when they come."""


class Floor:
    """`floor.py` as a process."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("floor.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the floor has ended"
        return line

    def start(self, guilds: list[GuildSpec]) -> dict[str, Any]:
        """Forks for each agent of the guilds at once."""
        documents = [self._workload.document(guild, agent) for guild in guilds for agent in guild.agents]
        assert self._process.stdin is not None
        for document in documents:
            self._process.stdin.write(json.dumps(document) + "\n")
        self._process.stdin.write(f"go {len(documents)}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._line())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Ours:
    """Guildhall, embedded."""

    def __init__(
        self, workload: Workload, start: str, warm: int, warm_max: int, trace: Path | None = None
    ) -> None:
        self._workload = workload
        runners = guildhall.stock_runners(start=start, warm=warm, warm_max=warm_max)
        if trace is not None:
            program = json.dumps(str(Path(__file__).with_name("traced_runner.py")))
            runners = runners.replace('"-m", "guildhall_runner"', program)
            assert program in runners
            os.environ["TRACE_FILE"] = str(trace)
        settings = guildhall.Settings(url=None, runners=runners, capacity=1000)
        self.engine = GuildhallExecutionEngine("bench", "bench", settings)
        # Its fleet, and what it prepares, are there before anything is timed.
        self.one(workload.guild())
        time.sleep(3 + warm)

    def one(self, guild: GuildSpec) -> float:
        """Seconds until the guild's only agent is subscribed."""
        began = time.perf_counter()
        _run(self.engine, self._workload, guild, guild.agents[0])
        return time.perf_counter() - began

    def batch(self, guilds: list[GuildSpec]) -> float:
        return _batch(lambda _: self.engine, self._workload, guilds)

    def close(self) -> None:
        self.engine.shutdown()


def _run(engine: ExecutionEngine, workload: Workload, guild: GuildSpec, agent: Any) -> None:
    engine.run_agent(guild, agent, workload.messaging, 1, SimpleClient)


def _batch(
    engine_of: Callable[[GuildSpec], ExecutionEngine],
    workload: Workload,
    guilds: list[GuildSpec],
    at_once: int = AT_ONCE,
) -> float:
    """Seconds until all agents of the guilds are subscribed."""
    agents = [(engine_of(guild), guild, agent) for guild in guilds for agent in guild.agents]
    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda launch: _run(launch[0], workload, *launch[1:]), agents))
    until(lambda: workload.subscribed(guilds, len(agents)))
    return time.perf_counter() - began


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def _one_at_a_time(
    start: Callable[[GuildSpec], float], workload: Workload, times: int, pause: float
) -> list[float]:
    taken = []
    for _ in range(times):
        taken.append(start(workload.guild()) * 1000)
        time.sleep(pause)
    return taken


def _import_seconds() -> float:
    began = time.perf_counter()
    imports = "import rustic_ai.core.guild.builders, rustic_ai.redis.messaging.backend"
    subprocess.run([sys.executable, "-c", imports], check=True)
    return time.perf_counter() - began


def _latency(report: Report, workload: Workload, times: int) -> Floor:
    floor = Floor(workload)
    bare: list[float] = []
    spans: list[dict[str, float]] = []

    def start_bare(guild: GuildSpec) -> float:
        answer = floor.start([guild])
        spans.append(answer["spans"])
        seconds: float = answer["seconds"]
        return seconds

    ways = {
        "forked ahead of need": (("fork", 4, 8), times, PAUSE),
        "zygote on demand": (("fork", 0, 0), times, PAUSE),
        "warm interpreters": (("spawn", 3, 3), max(8, times // 5), 2.5),
        "cold": (("spawn", 0, 0), max(5, times // 10), PAUSE),
    }
    taken: dict[str, list[float]] = {}
    for name, (how, count, pause) in ways.items():
        # The floor beside each, for a machine changes its mind.
        bare += _one_at_a_time(start_bare, workload, max(8, times // 4), PAUSE)
        ours = Ours(workload, *how)
        taken[name] = _one_at_a_time(ours.one, workload, count, pause)
        ours.close()
    imports = statistics.median(_import_seconds() for _ in range(5)) * 1000

    p50 = {name: statistics.median(values) for name, values in taken.items()}
    least = statistics.median(bare)
    report.row("rustic: the floor, fork-build-subscribe, p50", least, "ms")
    for span in spans[0]:
        value = statistics.median(one[span] for one in spans) * 1000
        report.row(f"rustic: of the floor: {span}, p50", value, "ms")
    ahead = taken["forked ahead of need"]
    report.at_most("rustic: run_agent, forked ahead of need, p50", p50["forked ahead of need"], "ms", 20)
    report.at_most("rustic: run_agent, forked ahead of need, p99", _percentile(ahead, 0.99), "ms", 60)
    report.at_most(
        "rustic: run_agent, zygote on demand, p50 above the floor", p50["zygote on demand"] - least, "ms", 10
    )
    warm = p50["warm interpreters"] - p50["zygote on demand"]
    report.at_most("rustic: run_agent, warm interpreters, p50 above the zygote's", warm, "ms", 5)
    report.row("rustic: a bare import of the framework, p50", imports, "ms")
    report.at_most("rustic: run_agent, cold, p50 above a bare import", p50["cold"] - imports, "ms", 100)
    return floor


def _spans(report: Report, workload: Workload, times: int) -> None:
    """Where the time of a start goes, from the app's call to its return."""
    with tempfile.TemporaryDirectory() as folder:
        for way, warm in (("forked ahead of need", 4), ("zygote on demand", 0)):
            trace = Path(folder) / way
            ours = Ours(workload, "fork", warm, 2 * warm, trace)
            calls = {}
            for _ in range(times):
                guild = workload.guild()
                began = time.monotonic()
                ours.one(guild)
                calls[guild.id] = (began, time.monotonic())
                time.sleep(PAUSE)
            ours.close()
            spans: dict[str, list[float]] = {}
            for line in trace.read_text().splitlines():
                start = json.loads(line)
                if start["guild"] in calls:
                    began, ended = calls[start["guild"]]
                    marks = {"call": began} | start["marks"] | {"heard": ended}
                    for (_, before), (name, after) in itertools.pairwise(marks.items()):
                        spans.setdefault(name, []).append((after - before) * 1000)
            for name, taken in spans.items():
                report.row(f"rustic: of a start, {way}: {name}, p50", statistics.median(taken), "ms")


def _rates(report: Report, workload: Workload, floor: Floor, with_ray: bool) -> None:
    shapes = {
        "separate guilds": lambda count: [workload.guild() for _ in range(count)],
        "one guild": lambda count: [workload.guild(count)],
    }
    ours: dict[str, list[float]] = {name: [] for name in shapes}
    bare: dict[str, list[float]] = {name: [] for name in shapes}
    for _ in range(3):
        for name, guilds in shapes.items():
            bare[name].append(BATCH / floor.start(guilds(BATCH))["seconds"])
            # Nothing is forked ahead: a batch is more than waits.
            engine = Ours(workload, "fork", 0, 0)
            ours[name].append(BATCH / engine.batch(guilds(BATCH)))
            engine.close()
    ray = _ray_rates(report, workload, shapes) if with_ray else {}
    for name, factor in (("separate guilds", 30), ("one guild", 20)):
        rate = statistics.median(ours[name])
        least = statistics.median(bare[name])
        report.row(f"rustic: a batch of {BATCH}, {name}", rate, "agents/s")
        report.at_least(f"rustic: a batch of {BATCH}, {name}, of the floor's rate", rate / least, "", 0.8)
        if name in ray:
            report.at_least(
                f"rustic: a batch of {BATCH}, {name}, times Ray's rate", rate / ray[name], "", factor
            )
    for name, guilds in shapes.items():
        engine = MultiProcessExecutionEngine("bench", "bench", max_processes=BATCH + 1)
        count = 20
        seconds = _batch(lambda _, engine=engine: engine, workload, guilds(count), at_once=1)
        engine.shutdown()
        report.row(f"rustic: multiprocess, a batch of {count}, {name}", count / seconds, "agents/s")


def _ray_rates(report: Report, workload: Workload, shapes: dict[str, Any]) -> dict[str, float]:
    import ray
    from rustic_ai.ray.execution.ray_exec_engine import RayExecutionEngine

    # Ray starts idle workers for each CPU that it is told of, and an agent takes 0.3 of one
    # unless told otherwise: this lets all of them run on the CPUs that there are.
    os.environ["RUSTIC_NUM_CPUS_PER_AGENT"] = "0.001"
    ray.init(include_dashboard=False, log_to_driver=False)
    # An engine is one guild's: it knows actors by the agent's id alone.
    engines: dict[str, ExecutionEngine] = {}

    def engine_of(guild: GuildSpec) -> ExecutionEngine:
        return engines.setdefault(guild.id, RayExecutionEngine(guild.id, "bench"))

    def end_all() -> None:
        for name in ray.util.list_named_actors(all_namespaces=True):
            ray.kill(ray.get_actor(**name), no_restart=True)

    rates = {}
    try:
        single = [_batch(engine_of, workload, [workload.guild()]) for _ in range(5)]
        report.row("rustic: Ray, one actor, p50", statistics.median(single) * 1000, "ms")
        for name, guilds in shapes.items():
            end_all()
            rates[name] = BATCH / _batch(engine_of, workload, guilds(BATCH))
            report.row(f"rustic: Ray, a batch of {BATCH}, {name}", rates[name], "agents/s")
        memory = [pss(pid) for pid in children() if _command(pid).startswith("ray::RayAgentWrapper")]
        report.row("rustic: Ray, memory for each agent (PSS)", statistics.mean(memory), "MB")
        end_all()
    finally:
        ray.shutdown()
    return rates


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _memory(report: Report, workload: Workload) -> None:
    ours = Ours(workload, "fork", 0, 0)
    count = 40
    ours.batch([workload.guild() for _ in range(count)])
    before = sum(pss(pid) for pid in children())
    ours.batch([workload.guild() for _ in range(count)])
    each = (sum(pss(pid) for pid in children()) - before) / count
    report.at_most("rustic: memory for each further agent (PSS), zygote", each, "MB", 12)
    report.row("rustic: CPU of an idle agent", _idle_share(2 * count), "%")
    ours.close()
    engine = MultiProcessExecutionEngine("bench", "bench", max_processes=2 * BATCH)
    before = sum(pss(pid) for pid in children())
    _batch(lambda _: engine, workload, [workload.guild() for _ in range(10)], at_once=1)
    each = (sum(pss(pid) for pid in children()) - before) / 10
    report.row("rustic: memory for each agent (PSS), multiprocess", each, "MB")
    report.row("rustic: CPU of an idle agent, multiprocess", _idle_share(10), "%")
    engine.shutdown()


def _idle_share(agents: int, over: float = 10.0) -> float:
    """Per cent of a CPU that an agent takes with nothing to do, its part of all others'
    included."""
    time.sleep(3)
    before = cpu_seconds(children())
    time.sleep(over)
    return (cpu_seconds(children()) - before) / over / agents * 100


def _crowd(report: Report, workload: Workload, agents: int) -> None:
    before = set(children())
    ours = Ours(workload, "fork", 0, 0)
    guilds = [workload.guild(10) for _ in range(agents // 10)]
    seconds = ours.batch(guilds)
    answers = sum(_echoes(workload, guild) for guild in guilds)
    running = sum(len(ours.engine.get_agents_in_guild(guild.id)) for guild in guilds)
    ours.close()
    left = len(set(children()) - before)
    report.row(f"rustic: {agents} agents, started at", agents / seconds, "agents/s")
    report.at_least(f"rustic: of {agents} agents, running", running, "", agents)
    report.at_least(f"rustic: of {agents} agents, have answered", answers, "", agents)
    report.at_most(f"rustic: processes left of {agents} agents", left, "", 0)


def _echoes(workload: Workload, guild: GuildSpec) -> int:
    """How many of the guild's agents answer what they are asked by their inboxes."""
    from rustic_ai.core.messaging import MessagingInterface
    from rustic_ai.core.messaging.core.message import AgentTag, Message
    from rustic_ai.core.utils import GemstoneGenerator, Priority

    answered: set[str] = set()
    interface = MessagingInterface(guild.id, workload.messaging)
    client = SimpleClient("probe", "Probe", lambda message: answered.add(message.sender.id))
    interface.register_client(client)
    ids = GemstoneGenerator(99)
    for agent in guild.agents:
        # An echo comes on the topic that was asked on.
        topic = f"agent_inbox:{agent.id}"
        interface.subscribe(topic, client)
        message = Message(
            id_obj=ids.get_id(Priority.NORMAL),
            topics=topic,
            sender=AgentTag(id="probe", name="Probe"),
            payload={"n": 1},
        )
        client.publish(message)
    until(lambda: len(answered) >= len(guild.agents))
    interface.shutdown()
    return len(answered)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, default=Path("target/bench.json"))
    parser.add_argument("--times", type=int, default=60, help="starts of each kind, one at a time")
    parser.add_argument("--agents", type=int, default=500, help="agents of the crowd")
    arguments = parser.parse_args()
    with_ray = find_spec("ray") is not None and find_spec("rustic_ai.ray") is not None
    if not with_ray:
        print("Ray is not installed: its figures, and ratios to them, are not taken")
    report = Report(arguments.report)
    with redis_server() as port:
        workload = Workload(port)
        floor = _latency(report, workload, arguments.times)
        _spans(report, workload, max(8, arguments.times // 3))
        _rates(report, workload, floor, with_ray)
        floor.close()
        _memory(report, workload)
        _crowd(report, workload, arguments.agents)


if __name__ == "__main__":
    main()
