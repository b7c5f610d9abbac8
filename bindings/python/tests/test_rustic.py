"""The Rustic AI engine, method by method."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from pathlib import Path

import pytest
from conftest import agent_hosts, table, threads, wait_until
from rustic_ai.core.guild.agent import AgentSpec
from rustic_ai.core.guild.builders import AgentBuilder, GuildHelper
from rustic_ai.core.guild.dsl import GuildSpec
from rustic_ai.core.guild.execution.execution_engine import ExecutionEngine
from rustic_ai.core.guild.guild import Guild
from rustic_ai.core.messaging import MessagingConfig, SimpleClient
from rustic_ai.core.utils.class_utils import create_execution_engine
from rustic_ai.testing.execution.integration_agents import InitiatorProbeAgent, ResponderProbeAgent

import guildhall
from guildhall import _guildhall, errors, rustic
from guildhall.rustic import GuildhallExecutionEngine

CLASS_NAME = "guildhall.rustic.GuildhallExecutionEngine"

# Messages stay within each process: these tests send none.
MESSAGING = MessagingConfig(
    backend_module="rustic_ai.core.messaging.backend",
    backend_class="InMemoryMessagingBackend",
    backend_config={},
)


@pytest.fixture(params=["embedded", "redis"])
def engine_settings(request, record) -> guildhall.Settings:
    """What engines are made with: an embedded fleet, and `agent-host` processes on a Redis."""
    if request.param == "embedded":
        yield guildhall.Settings(url=None, hosts=2, runners=table(TEST_RECORD_DIR=str(record)))
        return
    url = request.getfixturevalue("redis_url") + "/1"
    with agent_hosts(2, url, table(TEST_RECORD_DIR=str(record)), record):
        yield guildhall.Settings(url=url)


@pytest.fixture
def make(engine_settings):
    """Makes engines; those that the test leaves open are shut down."""
    made = []

    def make(guild_id="g", organization_id="org"):
        made.append(GuildhallExecutionEngine(guild_id, organization_id, engine_settings))
        return made[-1]

    yield make
    for engine in made:
        engine.shutdown()


def agent(agent_id: str, agent_class=ResponderProbeAgent, name: str | None = None) -> AgentSpec:
    builder = AgentBuilder(agent_class).set_id(agent_id).set_name(name or agent_id.title())
    return builder.set_description("A test's agent.").build_spec()


def guild_of(*agents: AgentSpec, guild_id: str = "g") -> GuildSpec:
    return GuildSpec(id=guild_id, name="G", description="A test's guild.", agents=list(agents))


def run(engine: ExecutionEngine, *agents: AgentSpec, guild_id: str = "g") -> None:
    for spec in agents:
        answer = engine.run_agent(guild_of(*agents, guild_id=guild_id), spec, MESSAGING, 1)
        assert answer is None


def told(record: Path, guild_id: str, agent_id: str) -> list[dict]:
    """What each process of an agent was told, the oldest first."""
    files = record.glob(f"{guild_id}.{agent_id}.*.json")
    return [json.loads(file.read_text()) for file in sorted(files, key=lambda file: file.stat().st_mtime_ns)]


def test_rustic_ai_makes_it_by_its_name(monkeypatch):
    engine = create_execution_engine(CLASS_NAME, guild_id="g", organization_id="org")
    assert type(engine) is GuildhallExecutionEngine
    assert (engine.guild_id, engine.organization_id) == ("g", "org")
    assert engine.get_qualified_class_name() == CLASS_NAME
    monkeypatch.setenv("RUSTIC_AI_EXECUTION_ENGINE", CLASS_NAME)
    assert GuildHelper.get_execution_engine(guild_of(agent("a"))) == CLASS_NAME
    # Nothing is started before it is needed.
    assert _guildhall.open_connections() == 0


def test_agents_run_are_found_and_stop(make, record):
    engine = make()
    first, second, namesake = agent("a", name="One"), agent("b", name="Two"), agent("c", name="One")
    engine.run_agent(
        guild_of(first, second, namesake), first, MESSAGING, 7, SimpleClient, {"x": None}, default_topic="t"
    )
    run(engine, second, namesake)
    assert engine.get_agents_in_guild("g") == {"a": first, "b": second, "c": namesake}
    assert engine.find_agents_by_name("g", "One") == [first, namesake]
    assert engine.find_agents_by_name("g", "Three") == []
    assert engine.is_agent_running("g", "a") is True
    assert engine.is_agent_running("g", "z") is False
    assert engine.get_agents_in_guild("h") == {}

    document = told(record, "g", "a")[0]["document"]
    assert AgentSpec.model_validate(document["agent_spec"]) == first
    assert [one["id"] for one in document["guild_spec"]["agents"]] == ["a", "b", "c"]
    assert MessagingConfig.model_validate(document["messaging"]) == MESSAGING
    assert document["client_type"] == "rustic_ai.core.messaging.client.simple_client.SimpleClient"
    assert document["client_properties"] == {"x": None}
    assert (document["organization_id"], document["machine_id"]) == ("org", 7)
    assert document["default_topic"] == "t"

    assert engine.stop_agent("g", "a") is None
    assert engine.is_agent_running("g", "a") is False
    assert engine.get_agents_in_guild("g") == {"b": second, "c": namesake}


def test_an_agent_that_is_not_there_is_stopped_with_a_warning(make, caplog):
    make().stop_agent("g", "nobody")
    assert "There is no agent nobody in guild g to stop" in caplog.text


def test_two_guilds_may_have_the_same_agents(make, record):
    one, other = make("g1"), make("g2")
    run(one, agent("a"), agent("b"), guild_id="g1")
    run(other, agent("a"), agent("b"), guild_id="g2")
    pids = {told(record, guild, name)[0]["pid"] for guild in ("g1", "g2") for name in "ab"}
    assert len(pids) == 4
    one.shutdown()
    assert sorted(other.get_agents_in_guild("g2")) == ["a", "b"]
    assert other.get_agents_in_guild("g1") == {}


def test_an_engine_knows_what_others_started(make):
    one, other = make(), make()
    spec = agent("a")
    run(one, spec)
    assert other.is_agent_running("g", "a")
    assert other.get_agents_in_guild("g") == {"a": spec}
    other.stop_agent("g", "a")
    assert one.get_agents_in_guild("g") == {}
    # Launched anew with another spec: what was known of it is void.
    changed = agent("a", InitiatorProbeAgent, name="Another")
    run(one, changed)
    assert other.get_agents_in_guild("g") == {"a": changed}


def test_shutdown_stops_what_the_engine_started_and_no_more(make):
    one, other = make(), make()
    run(one, agent("a"))
    run(other, agent("b"))
    one.shutdown()
    assert list(other.get_agents_in_guild("g")) == ["b"]
    # As other engines do: it knows of nothing, and may be used again.
    assert one.get_agents_in_guild("g") == {}
    assert one.find_agents_by_name("g", "B") == []
    assert one.is_agent_running("g", "b") is False
    one.stop_agent("g", "b")
    assert other.is_agent_running("g", "b")
    one.shutdown()
    run(one, agent("a"))
    assert sorted(one.get_agents_in_guild("g")) == ["a", "b"]


def test_what_goes_wrong_is_said(make):
    engine = make()
    run(engine, agent("a"))
    with pytest.raises(errors.AlreadyRunningError, match="agent g/a is already running"):
        run(engine, agent("a"))
    broken = agent("b").model_copy(update={"class_name": "tests.Broken"})
    with pytest.raises(errors.AgentStartError, match="exited with code 1") as failed:
        run(engine, broken)
    assert failed.value.stderr == "this agent does not start"
    assert "this agent does not start" in "".join(traceback.format_exception(failed.value))
    assert list(engine.get_agents_in_guild("g")) == ["a"]
    own = agent("c").model_copy(update={"class_name": "__main__.Mine"})
    with pytest.raises(errors.InvalidLaunchError, match="move it to a module"):
        run(engine, own)


def test_a_killed_agent_comes_back(make, record):
    engine = make()
    run(engine, agent("a"))
    os.kill(told(record, "g", "a")[0]["pid"], signal.SIGKILL)
    wait_until(lambda: len(told(record, "g", "a")) == 2, "it was started again")
    wait_until(lambda: engine.is_agent_running("g", "a"), "it is ready again")
    assert list(engine.get_agents_in_guild("g")) == ["a"]
    first, second = (one["document"]["epoch"] for one in told(record, "g", "a"))
    assert second > first


def test_a_guild_is_launched_by_rustic_ai_itself(make, engine_settings):
    rustic.configure(engine_settings)
    try:
        guild = Guild("g", "G", "A test's guild.", "org", CLASS_NAME, MESSAGING)
        guild.launch_agent(agent("a"))
        guild.launch_agent(agent("b"))
        assert guild.is_guild_running()
        assert sorted(spec.id for spec in guild.list_all_running_agents()) == ["a", "b"]
        guild.remove_agent("a")
        assert not guild.is_agent_running("a")
        guild.shutdown()
        assert make().get_agents_in_guild("g") == {}
    finally:
        rustic.configure(None)


def test_python_goes_on_while_an_engine_waits(make, record, engine_settings):
    if not engine_settings.is_embedded:
        pytest.skip("the runner waits for a file of the embedded fleet")
    hold = record / "go"
    slow = table(TEST_RECORD_DIR=str(record), TEST_HOLD_FILE=str(hold))
    engine = GuildhallExecutionEngine("g", "org", guildhall.Settings(url=None, runners=slow))
    try:
        launches = [threading.Thread(target=run, args=(engine, agent(name))) for name in "abcd"]
        for launch in launches:
            launch.start()
        # Both the other threads and this one run while all of those wait.
        wait_until(lambda: all(told(record, "g", name) for name in "abcd"), "all are starting")
        assert engine.get_agents_in_guild("g") == {}
        hold.touch()
        for launch in launches:
            launch.join()
        assert sorted(engine.get_agents_in_guild("g")) == ["a", "b", "c", "d"]
    finally:
        engine.shutdown()


def test_no_thread_is_left(make):
    before = sorted(threads())
    engines = [make(f"g{n}") for n in range(5)]
    for n, engine in enumerate(engines):
        run(engine, agent("a"), guild_id=f"g{n}")
    for engine in engines:
        engine.shutdown()
    wait_until(lambda: sorted(threads()) == before, "no thread is left", 5)
    assert _guildhall.open_connections() == 0


def test_a_runner_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr(rustic, "find_spec", lambda name: None)
    engine = GuildhallExecutionEngine("g", "org", guildhall.Settings(url=None))
    with pytest.raises(errors.SettingsError, match=r"pip install 'guildhall\[rustic\]'"):
        run(engine, agent("a"))


def test_ctrl_c_gets_through(record):
    slow = table(TEST_RECORD_DIR=str(record), TEST_HOLD_FILE=str(record / "never"))
    program = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import guildhall
        from test_rustic import GuildhallExecutionEngine, agent, run
        engine = GuildhallExecutionEngine("g", "org", guildhall.Settings(url=None, runners={slow!r}))
        try:
            run(engine, agent("a"))
        except KeyboardInterrupt:
            engine.shutdown()
            print("interrupted", flush=True)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    wait_until(lambda: told(record, "g", "a"), "it waits for its agent")
    interrupted = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert out == "interrupted\n"
    assert time.monotonic() - interrupted < 20
    assert not Path(f"/proc/{told(record, 'g', 'a')[0]['pid']}").exists()
