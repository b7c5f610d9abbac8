"""A runner that follows docs/runners.md and makes a Rustic AI agent in the plainest way.

Stands in for `guildhall_runner`, whose own tests are its own.
"""

import json
import os
import signal
import socket
import sys
import threading
import time


def main() -> None:
    line = sys.stdin.readline()
    # Rustic AI changes what it validates.
    document, told = json.loads(line), json.loads(line)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()

    wrapper = None
    if document["agent_spec"]["class_name"].startswith("rustic_ai."):
        wrapper = rustic_ai_agent(document)
    elif document["agent_spec"]["class_name"].endswith("Broken"):
        sys.exit("this agent does not start")
    if record := os.environ.get("TEST_RECORD_DIR"):
        name = f"{document['guild_id']}.{document['agent_id']}.{document['epoch']}.json"
        with open(os.path.join(record, name), "w") as file:
            json.dump({"document": told, "environment": dict(os.environ), "pid": os.getpid()}, file)
    while (hold := os.environ.get("TEST_HOLD_FILE")) and not os.path.exists(hold) and not stop.is_set():
        time.sleep(0.005)
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    stop.wait()
    if wrapper is not None:
        wrapper.shutdown()
    os._exit(0)


def rustic_ai_agent(document):
    from rustic_ai.core.guild.agent import AgentSpec
    from rustic_ai.core.guild.dsl import GuildSpec
    from rustic_ai.core.guild.execution.sync.sync_agent_wrapper import SyncAgentWrapper
    from rustic_ai.core.messaging import MessagingConfig
    from rustic_ai.core.utils.class_utils import get_client_class

    wrapper = SyncAgentWrapper(
        guild_spec=GuildSpec.model_validate(document["guild_spec"]),
        agent_spec=AgentSpec.model_validate(document["agent_spec"]),
        messaging_config=MessagingConfig.model_validate(document["messaging"]),
        machine_id=document["machine_id"],
        client_type=get_client_class(document["client_type"]),
        client_properties={name: value for name, value in document["client_properties"].items() if value},
        organization_id=document["organization_id"],
    )
    wrapper.run()
    return wrapper


if __name__ == "__main__":
    main()
