"""Launches that cannot succeed: one line says which field is to blame, and nothing that a
launch may not name is imported."""

import signal

import pytest

THERE_ARE = "is not allowed; there are: rustic_ai.*, agents.*"
FORBIDDEN = f"forbidden.X {THERE_ARE}"
TOOL = {"name": "t", "description": "t", "parameter_class": "forbidden.X"}


def messaging(**more):
    return {"messaging": {"backend_module": "m", "backend_class": "C", "backend_config": {}} | more}


def dependency(class_name):
    return {"dependency_map": {"d": {"class_name": class_name}}, "additional_dependencies": ["d"]}


IN_MEMORY = {
    "backend_module": "rustic_ai.core.messaging.backend.in_memory_backend",
    "backend_class": "InMemoryMessagingBackend",
}
EXACTLY_ONCE = "rustic_ai.core.messaging.client.exactly_once_client.ExactlyOnceClient"
STORE = {"tracking_store_class": "forbidden.X", "tracking_store_props": {}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        # The document itself.
        ({"version": 2}, "version: 2 is not known, only 1"),
        ({"version": None}, "version is not a whole number"),
        ({"epoch": "7"}, "epoch is not a whole number"),
        ({"epoch": True}, "epoch is not a whole number"),
        ({"guild_spec": None}, "guild_spec is not an object"),
        ({"agent": {"class_name": 3}}, "agent_spec.class_name is not a text"),
        ({"agent_id": "b"}, "agent_spec.id is not agent_id"),
        ({"guild_id": "g", "guild_spec": {"id": "h"}}, "guild_spec.id is not guild_id"),
        # Classes that are not allowed, in all the places that can name one.
        ({"agent": {"class_name": "forbidden.X"}}, f"agent_spec.class_name: {FORBIDDEN}"),
        ({"agent": {"class_name": "os.system"}}, f"agent_spec.class_name: os.system {THERE_ARE}"),
        ({"client_type": "forbidden.X"}, f"client_type: {FORBIDDEN}"),
        (messaging(backend_module="forbidden", backend_class="X"), f"messaging: {FORBIDDEN}"),
        ({"agent": dependency("forbidden.X")}, f"dependency_map: {FORBIDDEN}"),
        (
            {"client_type": EXACTLY_ONCE, "client_properties": STORE},
            f"agent_spec or client_properties: {FORBIDDEN}",
        ),
        (
            {"agent": {"class_name": "agents.Tooled", "properties": {"tool": TOOL}}},
            f"agent_spec: {FORBIDDEN}",
        ),
        # Classes that are, and are not there or not what they should be.
        (
            {"agent": {"class_name": "agents.Missing"}},
            "guild_spec: agents.0: Invalid class name: agents.Missing: "
            "Class Missing not found in module agents",
        ),
        (
            {"agent": {"class_name": "rustic_ai.missing.Agent"}},
            "agent_spec: Agent class 'rustic_ai.missing.Agent' is not importable in this "
            "environment: No module named 'rustic_ai.missing'",
        ),
        ({"client_type": "agents.Slow"}, "client_type: Class agents.Slow is not a subclass of Client"),
        (
            messaging(backend_module="agents"),
            "messaging: AttributeError: module 'agents' has no attribute 'C'",
        ),
        (
            {"agent": {"additional_dependencies": ["d"]}},
            "dependency_map: there is no d, which the agent needs",
        ),
        # Values that are wrong, and are not shown.
        ({"agent": {"name": ""}}, "guild_spec: agents.0.name: String should have at least 1 character"),
        (
            messaging(backend_config="hunter2"),
            "messaging: backend_config: Input should be a valid dictionary",
        ),
        (
            messaging(
                backend_module="rustic_ai.redis.messaging.backend",
                backend_class="RedisMessagingBackend",
                backend_config={"redis_client": {"host": "h", "port": "six", "password": "hunter2"}},
            ),
            "messaging: port: Input should be a valid integer, unable to parse string as an integer",
        ),
    ],
)
def test_what_cannot_be_launched_is_said_in_one_line(host, tmp_path, change, reason):
    process = host.fork()
    document = host.document(**{"messaging": IN_MEMORY | {"backend_config": {}}} | change)
    host.launch(process, document)
    assert host.refusal(process) == (78, f"guildhall-runner: {reason}\n")
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize("missing", ["version", "agent_id", "agent_spec", "messaging", "client_type"])
def test_a_field_that_is_missing_is_named(host, missing):
    process = host.fork()
    document = host.document()
    del document[missing]
    host.launch(process, document)
    assert host.refusal(process) == (78, f"guildhall-runner: {missing} is missing\n")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"password": hunter2}\n', "the launch document is not JSON at byte 13"),
        (b'"hunter2"\n', "the launch document is not a JSON object"),
        (b"\xff\xfe\n", "the launch document is not JSON"),
        (b"[" * 100_000 + b"\n", "the launch document is not JSON"),
        (b'"' + b"a" * (4 * 1024 * 1024 + 64 * 1024), "the launch document is longer than 4259840 bytes"),
    ],
    ids=["cut off", "no object", "no text", "deep", "long"],
)
def test_what_is_no_document_is_said_without_showing_it(host, line, reason):
    process = host.fork()
    remaining = memoryview(line)
    while remaining:
        remaining = remaining[process.stdin.write(remaining) :]
    assert host.refusal(process) == (78, f"guildhall-runner: {reason}\n")


def test_nothing_but_the_frameworks_own_is_allowed_by_default(host):
    process = host.start("--preload", "agents")
    host.launch(process, host.document("agents.Slow"))
    reason = "agent_spec.class_name: agents.Slow is not allowed; there are: rustic_ai.*"
    assert host.refusal(process) == (78, f"guildhall-runner: {reason}\n")


def test_what_others_of_the_guild_name_is_not_imported(host, tmp_path):
    document = host.document()
    document["guild_spec"]["agents"] += [
        {"id": "b", "name": "Bob", "description": "Another.", "class_name": "forbidden.X"},
        {
            "id": "c",
            "name": "Cid",
            "description": "A third.",
            "class_name": "agents.Tooled",
            "properties": {"tool": TOOL},
        },
    ]
    document["guild_spec"]["dependency_map"] = {"unused": {"class_name": "forbidden.X"}}
    process = host.fork()
    host.launch(process, document)
    host.wait_ready(process)
    assert not (tmp_path / "imported").exists()


def test_an_agent_that_fails_as_it_is_made_shows_where(host):
    process = host.fork()
    host.launch(process, host.document("agents.Broken"))
    code, said = host.refusal(process)
    assert code == 1
    assert said.startswith("Traceback")
    assert said.endswith("RuntimeError: no model\n")
    assert "agents.py" in said


def test_a_messaging_that_cannot_be_reached_is_a_failure_of_this_start_only(host):
    process = host.fork()
    document = host.document(redis_port=1)
    document["messaging"]["backend_config"]["redis_client"] |= {
        "password": "hunter2",
        "pubsub_immediate_retry_attempts": 1,
        "pubsub_retry_initial_delay": 0.01,
        "pubsub_retry_enabled": False,
    }
    host.launch(process, document)
    code, said = host.refusal(process)
    assert code == 1
    reason = "ConnectionError: Error 111 connecting to 127.0.0.1:1. Connection refused."
    assert said.splitlines()[-1].startswith(f"guildhall-runner: messaging: {reason}")
    assert "hunter2" not in said and "Traceback" not in said


def test_a_module_that_cannot_be_preloaded_is_named(host):
    process = host.start("--preload", "missing_module")
    reason = "--preload missing_module: ModuleNotFoundError: No module named 'missing_module'"
    assert host.refusal(process) == (78, f"guildhall-runner: {reason}\n")
    assert "X_WAITING=1" not in host.hear()


def test_a_password_is_in_no_log(host):
    process = host.start("--log-level", "DEBUG")
    document = host.document(guild_id="logged")
    document["messaging"]["backend_config"]["redis_client"]["password"] = "hunter2"
    document["guild_spec"]["properties"] = {"messaging": document["messaging"]}
    host.launch(process, document | {"messaging": {}})
    host.wait_ready(process)
    process.send_signal(signal.SIGTERM)
    code, said = host.refusal(process)
    assert code == 0
    assert "DEBUG" in said
    assert "hunter2" not in said
