"""The life of a process: what it says, what it answers, and how it ends."""

import signal
import time

import pytest
from conftest import wait_until

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
        process = host.start("--allow", "*")
        host.launch(process, document)
        host.said.clear()
        host.wait_ready(process)
        probe = messages(document)
        number = probe.send({})
        wait_until(lambda probe=probe, number=number: probe.answers(number), "an answer")
        answered[guild_id] = probe.answers(number)[0].payload
        assert answered[guild_id]["pid"] == process.pid
    assert [(answer["guild"], answer["epoch"]) for answer in answered.values()] == [("g1", 3), ("g2", 4)]


def test_sigterm_lets_the_message_in_hand_be_finished_and_no_other_begin(host, messages, tmp_path):
    document = host.document(SLOW, guild_id="drained")
    process = host.start("--allow", "*")
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
    process = host.start("--allow", "*")
    host.launch(process, document | {"epoch": 8})
    host.wait_ready(process)
    wait_until(lambda: probe.answers(second), "the second is answered")
    assert [answer.payload["epoch"] for answer in probe.answers(second)] == [8]
    assert len(probe.answers(first)) == 1


def test_the_end_of_the_host_is_its_end(host):
    process = host.start()
    host.launch(process, host.document())
    host.wait_ready(process)
    process.stdin.close()
    assert process.wait(30) == 0
    never_launched = host.start()
    never_launched.stdin.close()
    assert never_launched.wait(30) == 0


def test_signs_of_life_end_when_a_handler_hangs(host, messages, tmp_path):
    document = host.document(SLOW, guild_id="watched")
    process = host.start("--allow", "*", WATCHDOG_USEC="200000")
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


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "version: 2 is not known, only 1"),
        ({"epoch": "7"}, "epoch is not a whole number"),
        ({"guild_spec": None}, "guild_spec is not an object"),
        ({"agent": {"class_name": 3}}, "agent_spec.class_name is not a text"),
        ({"agent": {"class_name": "os.system"}}, "os.system is not allowed; there are: rustic_ai.*"),
        ({"client_type": "agents.Slow"}, "agents.Slow is not allowed; there are: rustic_ai.*"),
        (
            {"messaging": {"backend_module": "os", "backend_class": "X", "backend_config": {"p": "secret"}}},
            "os.X is not allowed; there are: rustic_ai.*",
        ),
        (
            {
                "agent": {
                    "dependency_map": {"d": {"class_name": "agents.Resolver"}},
                    "additional_dependencies": ["d"],
                }
            },
            "agents.Resolver is not allowed; there are: rustic_ai.*",
        ),
    ],
)
def test_what_cannot_be_launched_is_said_in_one_line(host, change, reason):
    process = host.start()
    host.launch(process, host.document(**change))
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr.decode()) == (78, f"guildhall-runner: {reason}\n")


def test_what_is_no_document_is_said_without_showing_it(host):
    process = host.start()
    _, stderr = process.communicate(b'{"password": "secret"\n', timeout=60)
    assert process.returncode == 78
    assert stderr.decode() == "guildhall-runner: the launch document is not JSON at byte 22\n"


def test_a_messaging_that_cannot_be_reached_is_no_secret_told(host):
    process = host.start("--log-level", "INFO")
    document = host.document()
    document["messaging"]["backend_config"] = {
        "redis_client": {"host": "127.0.0.1", "port": 1, "password": "hunter2"}
    }
    host.launch(process, document)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"hunter2" not in stderr and b"Error" in stderr
