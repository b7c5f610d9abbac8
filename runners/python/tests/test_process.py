"""The life of a process: what it says, what it answers, and how it ends."""

import signal
import socket
import time

import pytest
from conftest import redis_server, wait_until

SLOW = "agents.Slow"


def test_an_agent_that_is_ready_answers(host, messages):
    process = host.start()
    document = host.document()
    before = messages(document)
    # Sent before there is an agent, and answered all the same.
    early = before.send({"n": 0})
    host.launch(process, document)
    host.wait_ready(process)
    numbers = [before.send({"n": n}) for n in range(1, 4)]
    for number in (early, *numbers):
        wait_until(lambda number=number: before.answers(number), "an answer")
        assert len(before.answers(number)) == 1
    assert "X_WAITING=1" in host.said


def test_an_agent_knows_its_epoch_and_two_guilds_may_have_the_same_ids(host, messages):
    answered = {}
    for guild_id in ("g1", "g2"):
        document = host.document(SLOW, guild_id=guild_id, epoch=len(guild_id) + int(guild_id[1]))
        process = host.fork()
        host.launch(process, document)
        host.said.clear()
        host.wait_ready(process)
        probe = messages(document)
        number = probe.send({})
        wait_until(lambda probe=probe, number=number: probe.answers(number), "an answer")
        answered[guild_id] = probe.answers(number)[0].payload
        assert answered[guild_id]["pid"] == process.pid
    assert [(answer["guild"], answer["epoch"]) for answer in answered.values()] == [("g1", 3), ("g2", 4)]
    assert all(process.poll() is None for process in host.processes)


def test_sigterm_lets_the_message_in_hand_be_finished_and_no_other_begin(host, messages, tmp_path):
    document = host.document(SLOW, guild_id="drained")
    process = host.fork()
    host.launch(process, document)
    host.wait_ready(process)
    probe = messages(document)
    begun, until = tmp_path / "begun", tmp_path / "until"
    first = probe.send({"begun": str(begun), "seconds": 60, "until": str(until)})
    second = probe.send({})
    wait_until(begun.exists, "the first message is in hand")
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: "STOPPING=1" in host.hear(), "it is stopping")
    assert process.poll() is None
    until.touch()
    assert process.wait(30) == 0
    wait_until(lambda: probe.answers(first), "the first is answered")
    assert not probe.answers(second)

    # The next incarnation has the second, and not the first again.
    host.said.clear()
    process = host.fork()
    host.launch(process, document | {"epoch": 8})
    host.wait_ready(process)
    wait_until(lambda: probe.answers(second), "the second is answered")
    assert [answer.payload["epoch"] for answer in probe.answers(second)] == [8]
    assert len(probe.answers(first)) == 1


@pytest.mark.parametrize("how", ["SIGTERM", "end-of-file"])
def test_one_that_waits_ends_when_it_is_not_needed(host, how):
    process = host.fork()
    wait_until(lambda: "X_WAITING=1" in host.hear(), "it waits")
    if how == "SIGTERM":
        process.send_signal(signal.SIGTERM)
    else:
        process.stdin.close()
    assert host.refusal(process) == (0, "")


@pytest.mark.parametrize("how", ["SIGTERM", "end-of-file"])
def test_one_that_still_connects_ends_at_once(host, how):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = host.fork()
        host.launch(process, host.document(redis_port=silent.getsockname()[1]))
        # It connects, and hears nothing for as long as Rustic AI has patience: 30 s, thrice.
        silent.settimeout(30)
        connected, _ = silent.accept()
        if how == "SIGTERM":
            process.send_signal(signal.SIGTERM)
        else:
            process.stdin.close()
        began = time.monotonic()
        assert host.refusal(process) == (0, "")
        assert time.monotonic() - began < 10
        connected.close()
    assert "READY=1" not in host.hear()
    assert ("STOPPING=1" in host.said) is (how == "SIGTERM")


def test_one_whose_agent_is_still_made_ends_with_its_host(host, tmp_path):
    process = host.fork()
    host.launch(process, host.document("agents.Patient", guild_id="made"))
    wait_until((tmp_path / "making").exists, "its agent is being made")
    process.stdin.close()
    assert process.wait() == 0


@pytest.mark.parametrize("in_hand", [False, True])
def test_the_end_of_the_host_is_its_end(host, messages, tmp_path, in_hand):
    document = host.document(SLOW, guild_id=f"orphan-{in_hand}")
    process = host.fork()
    host.launch(process, document)
    host.wait_ready(process)
    if in_hand:
        messages(document).send({"begun": str(tmp_path / "begun"), "seconds": 600})
        wait_until((tmp_path / "begun").exists, "a message is in hand")
    process.stdin.close()
    assert process.wait(30) == 0


def test_signs_of_life_end_when_a_handler_hangs(host, messages, tmp_path):
    document = host.document(SLOW, guild_id="watched")
    process = host.fork(WATCHDOG_USEC="200000")
    host.launch(process, document)
    host.wait_ready(process)
    signs = lambda: host.hear().count("WATCHDOG=1")  # noqa: E731
    wait_until(lambda: signs() >= 3, "signs of life")
    until = tmp_path / "until"
    messages(document).send({"seconds": 60, "until": str(until)})
    # None for as long as five would take; a busy machine only makes that longer.
    quiet_since, last = time.monotonic(), signs()
    while time.monotonic() - quiet_since < 0.5:
        time.sleep(0.01)
        if signs() != last:
            quiet_since, last = time.monotonic(), signs()
    assert any(line.startswith("STATUS=processing") for line in host.said), host.said
    until.touch()
    wait_until(lambda: signs() > last, "signs of life again")


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (3, 3), ("words", 1)])
def test_a_handler_that_ends_its_thread_ends_the_process(host, messages, code, expected):
    document = host.document("agents.Quitter", guild_id=f"quits-{code}")
    process = host.fork()
    host.launch(process, document)
    host.wait_ready(process)
    messages(document).send({"code": code})
    # What it prints is not kept in a buffer.
    assert process.stdout.readline() == b"about to quit\n"
    assert host.refusal(process) == (
        expected,
        f"guildhall-runner: the agent's own code has ended it, with {expected}\n",
    )


def test_a_messaging_that_is_gone_for_good_is_a_failure_and_no_end_as_told(host, tmp_path):
    with redis_server(tmp_path) as (port, server):
        document = host.document(redis_port=port)
        document["messaging"]["backend_config"]["redis_client"] |= {
            "pubsub_health_monitor_initial_delay": 0.05,
            "pubsub_health_check_interval": 0.05,
            "pubsub_retry_initial_delay": 0.05,
            "pubsub_immediate_retry_attempts": 1,
            "pubsub_max_retry_attempts": 1,
        }
        process = host.fork()
        host.launch(process, document)
        host.wait_ready(process)
        server.kill()
        code, said = host.refusal(process)
    assert code == 1
    assert said.endswith("reconnection failed after 1 attempts')\n")
    assert "guildhall-runner: the agent handles no more messages: RedisConnectionFailureError" in said


def test_a_guild_without_words_on_messaging_has_rustic_ais_default(host):
    process = host.fork()
    host.launch(process, host.document(messaging={}))
    host.wait_ready(process)
    process.send_signal(signal.SIGTERM)
    assert host.refusal(process) == (0, "")
