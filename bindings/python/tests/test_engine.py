"""The asynchronous engine, on an embedded fleet."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
from conftest import TESTS, children, spec, table, threads, wait_until

import guildhall
from guildhall import errors

GUILD = """
id: newsroom
name: Newsroom
description: Finds stories and writes them up.
agents:
  - { id: reporter, name: Reporter, description: Finds stories., class_name: newsroom.Reporter }
  - { id: editor, name: Editor, description: Writes them up., class_name: newsroom.Editor }
"""
COMPONENTS = TESTS.parents[2] / "sdk/src/placement/components"


def within_an_engine(settings, test):
    """Run the test's coroutine with an engine."""

    async def main():
        async with guildhall.Engine(settings) as engine:
            await test(engine)

    asyncio.run(main())


def test_an_agent_runs_is_found_and_stops(settings, record):
    async def test(engine):
        agent = await engine.run_agent(
            "g",
            spec("a"),
            guild_spec={"id": "g"},
            options=guildhall.LaunchOptions(organization_id="org", machine_id=7, default_topic="t"),
        )
        assert (agent.guild_id, agent.agent_id, agent.name, agent.state) == ("g", "a", "A", "running")
        assert agent.placed_by.startswith("round-robin")
        assert await engine.is_agent_running("g", "a")
        assert [one.agent_id for one in await engine.get_agents_in_guild("g")] == ["a"]
        assert [one.agent_id for one in await engine.find_agents_by_name("g", "A")] == ["a"]
        assert await engine.find_agents_by_name("g", "B") == []

        told = json.loads((record / f"g.a.{agent.epoch}.json").read_text())["document"]
        assert told["agent_spec"] == spec("a")
        assert told["guild_spec"] == {"id": "g"}
        assert (told["organization_id"], told["machine_id"], told["default_topic"]) == ("org", 7, "t")

        stopped = await engine.stop_agent("g", "a")
        assert stopped.epoch == agent.epoch
        assert await engine.get_agent("g", "a") is None
        assert not await engine.is_agent_running("g", "a")

    within_an_engine(settings, test)


def test_a_guild_runs_on_all_hosts(settings, tmp_path):
    path = tmp_path / "guild.yaml"
    path.write_text(GUILD)

    async def test(engine):
        for written in (GUILD, path):
            started = await engine.run_guild(written)
            assert started.guild_id == "newsroom"
            assert [outcome.agent_id for outcome in started.agents] == ["reporter", "editor"]
            assert {outcome.agent.host for outcome in started.agents} == {"host-1", "host-2"}
            again = await engine.run_guild(written)
            assert [type(outcome.error) for outcome in again.agents] == [errors.AlreadyRunningError] * 2
            assert len(await engine.stop_guild("newsroom")) == 2

    within_an_engine(settings, test)


def test_what_goes_wrong_is_said(settings):
    async def test(engine):
        with pytest.raises(errors.AgentStartError, match="exited with code 1") as failed:
            await engine.run_agent("g", spec("a", class_name="tests.Broken"))
        assert failed.value.reason == "START_FAILED"
        assert failed.value.host in {"host-1", "host-2"}
        agent = await engine.run_agent("g", spec("a"))
        with pytest.raises(errors.AlreadyRunningError) as taken:
            await engine.run_agent("g", spec("a"))
        assert (taken.value.host, taken.value.epoch) == (agent.host, agent.epoch)
        with pytest.raises(errors.AgentNotFoundError, match="there is no agent g/b"):
            await engine.stop_agent("g", "b")
        for guild, agent_spec in [("g", "{"), ("g", {"id": "a"}), ("g*", spec("a"))]:
            with pytest.raises(errors.InvalidLaunchError):
                await engine.run_agent(guild, agent_spec)
        with pytest.raises(errors.InvalidLaunchError, match="agents"):
            await engine.run_guild({"id": "g", "name": "G", "description": "d", "agents": []})
        with pytest.raises(errors.CallTimeoutError):
            await engine.wait_for_hosts(3, within=0.01)

    within_an_engine(settings, test)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"url": "ftp://somewhere"}, errors.SettingsError, "begins with redis://"),
        ({"url": "redis://:secret@"}, errors.SettingsError, "is not the address of a registry"),
        ({"url": "kubernetes://somewhere"}, errors.SettingsError, "kubernetes://NAMESPACE/SERVICE"),
        ({"url": "redis://127.0.0.1:1", "connect_within": 0.1}, errors.RegistryError, "did not answer"),
        ({"runners": "[runner.a]\ncomand = 'x'"}, errors.SettingsError, "comand"),
        ({"runners": Path("/nowhere/runners.toml")}, errors.SettingsError, "cannot be read"),
        ({"policy": "/nowhere/policy.wasm"}, errors.GuildhallError, "/nowhere/policy.wasm"),
        ({"policy_settings": "{"}, errors.SettingsError, "policy_settings"),
        ({"connect_within": -1}, errors.SettingsError, "no time to wait"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_at_once(wrong, error, message):
    with pytest.raises(error, match=message) as refused:
        asyncio.run(guildhall.connect(**wrong))
    assert "secret" not in str(refused.value)


def test_the_stock_table_can_be_read_whatever_the_paths(monkeypatch):
    odd = ["", '/a folder/with "quotes"', "/ünï/\x7f", "/with/{{braces}}"]
    monkeypatch.setattr(sys, "path", odd)
    entry = tomllib.loads(guildhall.stock_runners(start="fork", warm=2, warm_max=8))["runner"]["rustic"]
    assert entry.pop("env") == {"PYTHONPATH": os.pathsep.join([os.getcwd(), *odd[1:3]])}
    assert entry == {
        "command": sys.executable,
        "args": ["-m", "guildhall_runner", "--allow", "*"],
        "class_name": "*",
        "start": "fork",
        "warm": 2,
        "warm_max": 8,
    }


def test_a_policy_is_a_name_or_a_component(settings, record):
    async def main():
        for policy, named in [
            ("least-loaded", "least-loaded"),
            (COMPONENTS / "round-robin.wasm", "round-robin"),
        ]:
            async with await guildhall.connect(policy=policy, runners=settings.runners) as engine:
                assert (await engine.policy()).startswith(named)
                agent = await engine.run_agent("g", spec("a"))
                assert agent.placed_by.startswith(named)

    asyncio.run(main())


def test_a_watcher_sees_a_kill_and_the_restart(settings):
    async def test(engine):
        agent = await engine.run_agent("g", spec("a"))
        seen = []
        async for event in engine.watch("g"):
            if event.kind == "snapshot":
                assert [one.pid for one in event.agents] == [agent.pid]
                os.kill(agent.pid, signal.SIGKILL)
                continue
            (changed,) = event.agents
            seen.append(changed.state)
            if changed.state == "running" and changed.epoch > agent.epoch:
                break
        assert "restarting" in seen
        assert changed.pid != agent.pid
        assert changed.restarts == 1
        assert changed.last_exit.signal == signal.SIGKILL

    within_an_engine(settings, test)


def test_a_watch_ends_with_its_engine(settings):
    async def main():
        engine = guildhall.Engine(settings)
        events = aiter(engine.watch("g"))
        assert (await anext(events)).kind == "snapshot"
        rest = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await engine.shutdown()
        with pytest.raises(StopAsyncIteration):
            await rest
        with pytest.raises(errors.EngineClosedError):
            await engine.get_agents_in_guild("g")
        await engine.shutdown()

    asyncio.run(main())


def test_a_launch_that_is_cancelled_is_undone(record):
    slow = table(TEST_RECORD_DIR=str(record), TEST_HOLD_FILE=str(record / "go"))

    async def main():
        async with await guildhall.connect(runners=slow) as engine:
            launch = asyncio.create_task(engine.run_agent("g", spec("a")))
            while not [one for one in await engine.get_agents_in_guild("g") if one.state == "starting"]:
                await asyncio.sleep(0.005)
            launch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await launch
            while await engine.get_agents_in_guild("g"):
                await asyncio.sleep(0.005)
            (record / "go").touch()
            assert (await engine.run_agent("g", spec("a"))).state == "running"

    asyncio.run(main())


def test_equal_settings_share_a_fleet_and_others_do_not(settings):
    async def main():
        other = guildhall.Settings(url=None, hosts=1, runners=settings.runners)
        async with (
            guildhall.Engine(settings) as one,
            guildhall.Engine(settings) as same,
            guildhall.Engine(other) as different,
        ):
            await one.run_agent("g", spec("a"))
            assert await same.is_agent_running("g", "a")
            assert await different.get_agents_in_guild("g") == []
            await one.shutdown()
            assert await same.is_agent_running("g", "a")

    asyncio.run(main())


def test_agents_find_the_fleet_that_they_run_on(settings, record):
    async def main():
        async with guildhall.Engine(settings) as engine:
            agent = await engine.run_agent("g", spec("a"))
            environment = json.loads((record / f"g.a.{agent.epoch}.json").read_text())["environment"]
            url = environment["GUILDHALL_URL"]
            assert sorted(url.split(",")) == sorted(host.endpoint for host in await engine.hosts())
            async with await guildhall.connect(url, runners="") as within:
                assert await within.is_agent_running("g", "a")
                await within.run_agent("g", spec("b"))
            assert await engine.is_agent_running("g", "b")

    asyncio.run(main())


def test_agents_inherit_the_environment(settings, record, monkeypatch):
    monkeypatch.setenv("AN_API_KEY", "of the app")

    async def test(engine):
        agent = await engine.run_agent("g", spec("a"))
        environment = json.loads((record / f"g.a.{agent.epoch}.json").read_text())["environment"]
        assert environment["AN_API_KEY"] == "of the app"

    within_an_engine(settings, test)


def test_nothing_is_left_of_a_fleet_that_ends_while_agents_run(settings):
    before = threads()

    async def main():
        async with guildhall.Engine(settings) as engine:
            agents = [await engine.run_agent("g", spec(f"a{n}")) for n in range(5)]
        return [agent.pid for agent in agents]

    pids = asyncio.run(main())
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not set(pids) & set(children())
    wait_until(lambda: sorted(threads()) == sorted(before), "no thread is left", 5)


def script(text: str, settings, *args: str) -> subprocess.Popen:
    """A program of its own, with these settings."""
    lines = f"""
        import asyncio, os, signal, sys, threading, time
        import guildhall
        from guildhall import _guildhall, errors
        settings = guildhall.Settings(url=None, hosts=1, runners={settings.runners!r})
        spec = {spec("a")!r}
        """
    program = textwrap.dedent(lines) + textwrap.dedent(text)
    return subprocess.Popen([sys.executable, "-c", program, *args], stdout=subprocess.PIPE, text=True)


def test_a_program_that_forgets_to_shut_down_ends_in_peace(settings):
    program = script(
        """
        async def main():
            engine = guildhall.Engine(settings)
            print((await engine.run_agent("g", spec)).pid)
        asyncio.run(main())
        """,
        settings,
    )
    out, _ = program.communicate(timeout=60)
    assert program.returncode == 0
    assert not Path(f"/proc/{int(out)}").exists()


def test_a_forked_child_is_told_and_may_have_an_engine_of_its_own(settings):
    program = script(
        """
        async def run(engine):
            async with engine:
                return (await engine.run_agent("g", spec)).state

        async def main():
            engine = guildhall.Engine(settings)
            await engine.run_agent("g", spec)
            if (child := os.fork()) == 0:
                try:
                    await engine.get_agents_in_guild("g")
                except errors.ForkedError as error:
                    assert "make an engine of your own" in str(error), error
                    await engine.shutdown()
                    # The loop is the parent's.
                    own = guildhall.Engine(settings)
                    child = lambda: print("child", asyncio.run(run(own)), flush=True)
                    thread = threading.Thread(target=child)
                    thread.start()
                    thread.join()
                    os._exit(0)
                os._exit(1)
            loop = asyncio.get_running_loop()
            _, status = await loop.run_in_executor(None, os.waitpid, child, 0)
            assert await engine.is_agent_running("g", "a")
            await engine.shutdown()
            print("parent", os.waitstatus_to_exitcode(status))
        asyncio.run(main())
        """,
        settings,
    )
    out, _ = program.communicate(timeout=60)
    assert out.split("\n") == ["child running", "parent 0", ""]
