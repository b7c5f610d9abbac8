//! The runner, driven the way a host drives it.

use std::{
    io::Write,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use echo_runner::{Order, ping, socket_path, witness};
use rustix::process::{Pid, Signal, kill_process};

const LIMIT: Duration = Duration::from_secs(10);

struct Started {
    child: Child,
    host: UnixDatagram,
    dir: tempfile::TempDir,
}

fn start(line: &str) -> Started {
    start_with(line, |_, _| ())
}

fn start_with(line: &str, prepare: impl FnOnce(&Path, &mut Command)) -> Started {
    let dir = tempfile::tempdir().unwrap();
    let notify = dir.path().join("notify");
    let host = UnixDatagram::bind(&notify).unwrap();
    host.set_read_timeout(Some(LIMIT)).unwrap();
    let mut command = Command::new(echo_runner::binary().unwrap());
    command.env("NOTIFY_SOCKET", &notify).env("ECHO_DIR", dir.path());
    prepare(dir.path(), &mut command);
    let child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut started = Started { child, host, dir };
    assert_eq!(started.heard(), "X_WAITING=1", "it waits before it has a document");
    started.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    started
}

fn document(echo: &str) -> String {
    format!(
        r#"{{"version":1,"guild_id":"g","agent_id":"a","epoch":7,"host_id":"h","organization_id":"o","agent_spec":{{"class_name":"Any","properties":{{"echo":{echo}}}}}}}"#
    ) + "\n"
}

impl Started {
    fn heard(&self) -> String {
        let mut message = [0; 256];
        let bytes = self.host.recv(&mut message).unwrap();
        String::from_utf8(message[..bytes].to_vec()).unwrap()
    }

    fn socket(&self) -> std::path::PathBuf {
        socket_path(self.dir.path(), "g", "a", 7)
    }
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[test]
fn it_becomes_who_it_is_told_to_be_and_ends_when_told() {
    let mut started = start(&document("{}"));
    assert!(started.heard().starts_with("READY=1"));
    let pong = ping(&started.socket(), "hello", LIMIT).unwrap();
    assert_eq!((pong.guild.as_str(), pong.agent.as_str(), pong.epoch), ("g", "a", 7));
    assert_eq!((pong.pid, pong.payload.as_str()), (started.child.id(), "hello"));
    kill_process(Pid::from_child(&started.child), Signal::TERM).unwrap();
    assert!(started.child.wait().unwrap().success());
    assert_eq!(files(started.dir.path()), 1, "only the host's socket is left");
}

#[test]
fn it_ends_when_its_host_does() {
    let mut started = start(&document("{}"));
    started.heard();
    drop(started.child.stdin.take());
    assert!(started.child.wait().unwrap().success());
    assert_eq!(files(started.dir.path()), 1);
}

#[test]
fn it_misbehaves_when_told_to() {
    for (echo, code) in [(r#"{"on_start":"exit:3"}"#, Some(3)), (r#"{"on_start":"crash"}"#, None)] {
        assert_eq!(start(&document(echo)).child.wait().unwrap().code(), code, "{echo}");
    }
    let mut started = start(&document("{}"));
    started.heard();
    echo_runner::order(&started.socket(), Order::Exit(9), LIMIT).unwrap();
    assert_eq!(started.child.wait().unwrap().code(), Some(9));
}

#[test]
fn it_testifies_to_its_whole_life_where_it_is_asked_to() {
    let before = witness::now();
    let mut started = start_with(&document("{}"), |dir, command| {
        std::fs::create_dir(dir.join("witness")).unwrap();
        command.env(witness::DIR_VARIABLE, dir.join("witness"));
    });
    started.heard();
    let ready = witness::now();
    std::thread::sleep(10 * witness::INTERVAL);
    let killed = witness::now();
    started.child.kill().unwrap();
    started.child.wait().unwrap();
    let ended = witness::now();
    let all = witness::read_all(&started.dir.path().join("witness")).unwrap();
    let [testimony] = &all[..] else { panic!("{all:?}") };
    assert_eq!(
        testimony.witness,
        witness::Witness {
            guild: "g".into(),
            agent: "a".into(),
            epoch: 7,
            host: "h".into(),
            pid: started.child.id()
        }
    );
    assert!(testimony.alive_at.is_sorted());
    let (first, last) = (testimony.alive_at[0], *testimony.alive_at.last().unwrap());
    assert!(before < first && first < ready, "it testifies before it is ready");
    assert!(ready < last && last < ended, "and goes on");
    // A busy machine may let it wait, but not for ever.
    assert!(killed.saturating_sub(last) < 1_000_000_000);
}

#[test]
fn a_document_that_it_cannot_read_is_said_clearly() {
    for (line, message) in [
        ("{\"version\":1}\n", "the launch document cannot be read: missing field `guild_id`"),
        ("not json\n", "the launch document cannot be read: expected ident"),
        (
            "{\"version\":9,\"guild_id\":\"g\",\"agent_id\":\"a\",\"epoch\":1,\"host_id\":\"h\"}\n",
            "has version 9",
        ),
        (&document(r#"{"on_start":"dance"}"#), "echo.on_start: \"dance\" is not known"),
        (&document(r#"{"on_strat":"crash"}"#), "unknown field `on_strat`"),
    ] {
        let output = start(line).child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}: {stderr}");
        assert!(stderr.contains(message), "{line}: {stderr}");
    }
}
