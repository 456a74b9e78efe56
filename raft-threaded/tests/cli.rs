//! What the program says: help, errors, and the local cluster.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on has failed, and looks only at what it is about"
)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Stdio;

use support::{Client, Cluster, Value, done, eventually, free_port, newest_segment, raft_kv, run};

fn serve(data: &str, peer: u16, client: u16) -> Vec<String> {
    vec![
        "serve".to_string(),
        format!("--data={data}"),
        format!("--peer-addr=127.0.0.1:{peer}"),
        format!("--client-addr=127.0.0.1:{client}"),
        "--log=warn".to_string(),
    ]
}

/// Runs `serve`, which is expected to refuse; returns what it said.
fn refused(arguments: &[String]) -> String {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = run(&arguments);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    ran.err
}

#[test]
fn an_unknown_flag_is_refused_with_the_usage() {
    let ran = run(&["local", "--nodez", "3"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err.contains("unexpected argument '--nodez'"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("Usage: raft-kv local"), "{}", ran.err);
}

#[test]
fn every_verb_explains_itself() {
    for verb in [
        "local",
        "init",
        "serve",
        "status",
        "members",
        "attach",
        "detach",
        "promote",
        "demote",
        "move",
        "transfer",
        "step-down",
        "snapshot",
        "solo",
        "reset",
    ] {
        let ran = run(&[verb, "--help"]);
        let example = format!("  raft-kv {verb}");
        assert!(
            ran.success && ran.out.contains("Usage: raft-kv") && ran.out.contains(&example),
            "{}",
            ran.out
        );
    }
    assert!(run(&["--help"]).out.contains("redis-cli"));
}

#[test]
fn an_empty_folder_never_becomes_a_voter() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let said = refused(&serve(&data, free_port(), free_port()));
    assert!(said.contains("holds no log"), "{said}");
    assert!(said.contains("raft-kv init"), "{said}");
}

#[test]
fn a_missing_folder_is_named() {
    let said = refused(&serve("/nowhere/at/all", free_port(), free_port()));
    assert!(said.contains("/nowhere/at/all"), "{said}");
    assert!(said.contains("No such file"), "{said}");
    assert!(
        said.contains("`raft-kv init`") && said.contains("`raft-kv serve --join --id N`"),
        "{said}"
    );
}

#[test]
fn a_second_process_on_a_folder_is_refused_and_the_first_goes_on() {
    let cluster = Cluster::started(1);
    let data = cluster.nodes[0].data.display().to_string();
    let said = refused(&serve(&data, free_port(), free_port()));
    assert!(said.contains("in use by another process"), "{said}");
    let mut client = Client::connect(cluster.nodes[0].client).unwrap();
    assert_eq!(client.call(&["SET", "a", "1"]).unwrap(), Value::ok());
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let cluster = Cluster::new(1);
    let data = cluster.nodes[0].data.display().to_string();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    for (peer, client) in [(port, free_port()), (free_port(), port)] {
        let said = refused(&serve(&data, peer, client));
        assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
        assert!(said.contains("choose another port"), "{said}");
    }
}

#[test]
fn a_folder_of_another_node_is_refused() {
    let cluster = Cluster::new(2);
    let data = cluster.nodes[1].data.display().to_string();
    let mut arguments = serve(&data, free_port(), free_port());
    arguments.push("--id=1".to_string());
    let said = refused(&arguments);
    assert!(
        said.contains("belongs to node 2, and node 1 was asked for"),
        "{said}"
    );
}

#[test]
fn a_damaged_log_is_refused_with_file_and_offset_and_nothing_is_changed() {
    let mut cluster = Cluster::started(1);
    let mut client = Client::connect(cluster.nodes[0].client).unwrap();
    for key in 0..20 {
        client.call(&["SET", &key.to_string(), "value"]).unwrap();
    }
    cluster.nodes[0].stop();
    let segment = newest_segment(&cluster.nodes[0].data);
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[2_000] ^= 1;
    std::fs::write(&segment, &bytes).unwrap();
    let data = cluster.nodes[0].data.display().to_string();
    let said = refused(&serve(&data, free_port(), free_port()));
    let name = segment.file_name().unwrap().to_str().unwrap();
    assert!(said.contains(name) && said.contains("at offset"), "{said}");
    assert!(said.contains("must not vote again"), "{said}");
    assert_eq!(std::fs::read(&segment).unwrap(), bytes);
}

#[test]
fn a_foreign_file_in_place_of_a_segment_is_refused() {
    let cluster = Cluster::new(1);
    let segment = newest_segment(&cluster.nodes[0].data);
    std::fs::write(&segment, vec![b'x'; 4_096]).unwrap();
    let data = cluster.nodes[0].data.display().to_string();
    let said = refused(&serve(&data, free_port(), free_port()));
    assert!(said.contains("is not a segment of this log"), "{said}");
}

#[test]
fn init_gives_no_two_nodes_one_address() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data").display().to_string();
    let said = run(&[
        "init",
        "--dir",
        &dir,
        "1=db1:7101",
        "2=db2:7101",
        "3=db1:7101",
    ]);
    assert!(
        !said.success
            && said
                .err
                .contains("db1:7101 is given for node 1 and for node 3"),
        "{}{}",
        said.out,
        said.err
    );
    assert!(!folder.path().join("data").exists(), "nothing was made");
}

#[test]
fn init_does_not_make_a_cluster_over_another() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data").display().to_string();
    let arguments = [
        "init",
        "--dir",
        &dir,
        "1=127.0.0.1:7101",
        "2=127.0.0.1:7102",
    ];
    let first = run(&arguments);
    assert!(
        first.success && first.out.contains("raft-kv serve --id 2"),
        "{}",
        first.err
    );
    let second = run(&arguments);
    assert!(
        !second.success && second.err.contains("already"),
        "{}",
        second.err
    );
    let nonsense = run(&["init", "--dir", &dir, "1:7101"]);
    assert!(
        nonsense.err.contains("expected ID=HOST:PORT"),
        "{}",
        nonsense.err
    );
}

#[test]
fn settings_come_from_a_file_and_flags_win() {
    let cluster = Cluster::new(1);
    let node = &cluster.nodes[0];
    let file = cluster.folder.path().join("node.toml");
    let text = format!(
        "id = 1\ndata = {:?}\npeer_addr = \"127.0.0.1:{}\"\nclient_addr = \"127.0.0.1:1\"\n",
        node.data, node.peer
    );
    std::fs::write(&file, text).unwrap();
    let mut child = raft_kv()
        .args(["serve", "--log=warn", "--stop-with-stdin", "--config"])
        .arg(&file)
        .arg(format!("--client-addr=127.0.0.1:{}", node.client))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the node to answer", || node.status("id"));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());

    std::fs::write(&file, "idd = 1\n").unwrap();
    let said = refused(&["serve".to_string(), format!("--config={}", file.display())]);
    assert!(said.contains("unknown field `idd`"), "{said}");
}

#[test]
fn status_shows_what_a_node_knows() {
    let cluster = Cluster::started(1);
    let to = format!("127.0.0.1:{}", cluster.nodes[0].client);
    let table = run(&["status", "--to", &to]);
    for row in [
        "id             1",
        "role           leader",
        "leader         1",
    ] {
        assert!(table.out.contains(row), "{}", table.out);
    }
    assert!(!table.out.contains("disk"), "{}", table.out);
    let json = run(&["status", "--to", &to, "--json"]).out;
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    for field in [
        "id",
        "role",
        "term",
        "leader",
        "commit_index",
        "applied_index",
        "process_id",
        "disk",
    ] {
        assert!(!status[field].is_null(), "{field}: {json}");
    }
    assert_eq!(status["cluster_id"].as_str().unwrap().len(), 32);
    let nobody = run(&["status", "--to", &format!("127.0.0.1:{}", free_port())]);
    assert!(
        !nobody.success && nobody.err.contains("is a raft-kv node listening"),
        "{}",
        nobody.err
    );
}

/// Somebody takes the order and falls silent: nobody knows what became of it, and the exit code says so.
#[test]
fn an_order_whose_outcome_nobody_knows_has_an_exit_code_of_its_own() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = silent.local_addr().unwrap().to_string();
    let ran = run(&["step-down", "--to", &to, "--timeout", "1"]);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(ran.err.contains("it may have been done"), "{}", ran.err);
    drop(silent);
    let ran = run(&["step-down", "--to", &to]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(
        ran.err.contains("is a raft-kv node listening"),
        "{}",
        ran.err
    );
}

/// A node that is reset starts again, and a second order may meet it while it does.
#[test]
fn an_order_to_a_node_that_ends_the_connection_says_what_happened_and_where_to_look() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = listener.local_addr().unwrap().to_string();
    // What was sent is not read, which is when a connection is reset.
    let ran = std::thread::scope(|scope| {
        scope.spawn(|| listener.accept().map(drop).unwrap());
        run(&["reset", "--to", &to])
    });
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    let shows = format!("`raft-kv status --to {to}` shows");
    assert!(
        ran.err
            .contains("it stops, or starts again, as after a reset")
            && ran.err.contains(&shows),
        "{}",
        ran.err
    );
}

#[test]
fn a_value_that_is_none_is_told_with_what_was_expected() {
    for (arguments, expected) in [
        (&["promote", "x"][..], "the id of a node"),
        (&["detach", "1", "two"], "the id of a node"),
        (&["transfer", "--node", "db2"], "the id of a node"),
        (&["status", "--to", "127.0.0.1"], "expected HOST:PORT"),
        (&["members", "--to", "db1"], "expected HOST:PORT"),
        (&["reset", "--to", "db1:client"], "expected HOST:PORT"),
        (&["step-down", "--timeout", "0"], "a number from 1 to 86400"),
        (&["local", "--nodes", "ten"], "a number from 1 to 9"),
        (&["serve", "--id", "db1"], "the id of a node"),
        (&["serve", "--peer-addr", "db1:7101"], "expected IP:PORT"),
        (
            &["serve", "--heartbeat-ms", "50ms"],
            "a number of milliseconds",
        ),
        (&["solo", "--expect", "c1"], "32 hexadecimal digits"),
    ] {
        let ran = run(arguments);
        let found = arguments.last().unwrap();
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
        assert!(
            ran.err.contains(expected) && ran.err.contains(&format!("'{found}'")),
            "{arguments:?}: {}",
            ran.err
        );
    }
}

#[test]
fn a_setting_out_of_its_range_is_told_in_milliseconds() {
    let mut arguments = serve("/nowhere", free_port(), free_port());
    arguments.push("--heartbeat-ms=200".to_string());
    let said = refused(&arguments);
    assert!(
        said.contains("--heartbeat-ms is 200 ms, expected 1 to 125 ms"),
        "{said}"
    );
}

#[test]
fn a_node_that_is_to_join_has_an_id_and_a_folder_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new").display().to_string();
    let mut arguments = serve(&data, free_port(), free_port());
    arguments.push("--join".to_string());
    let said = refused(&arguments);
    assert!(said.contains("Give --id N"), "{said}");
    assert!(!folder.path().join("new").exists());
}

#[test]
fn a_client_at_the_peer_port_is_told_so() {
    let cluster = Cluster::started(1);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, cluster.nodes[0].peer)).unwrap();
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
    let mut said = String::new();
    BufReader::new(stream).read_line(&mut said).unwrap();
    assert!(said.contains("this port is for raft peers"), "{said}");
}

/// Two clusters whose addresses were mixed up: each says so, on both sides, and neither is harmed.
#[test]
fn a_peer_of_another_cluster_is_refused_on_both_sides() {
    let (one, other) = (Cluster::new(2), Cluster::new(2));
    let start = |data: &std::path::Path, peer: u16, client: u16| {
        raft_kv()
            .args(serve(&data.display().to_string(), peer, client))
            .arg("--stop-with-stdin")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    // Node 2 of the other cluster listens where node 1 of the first looks for its own node 2.
    let mut dialer = start(&one.nodes[0].data, one.nodes[0].peer, one.nodes[0].client);
    let mut stranger = start(
        &other.nodes[1].data,
        one.nodes[1].peer,
        other.nodes[1].client,
    );
    for (child, words) in [
        (&mut dialer, "not connected"),
        (&mut stranger, "was refused"),
    ] {
        let lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
        let mut lines = lines.map(Result::unwrap);
        let line = lines.find(|line| line.contains(words) && line.contains("cluster"));
        let line = line.expect("a sentence about the cluster");
        assert!(line.contains("expected"), "{line}");
    }
    for mut child in [dialer, stranger] {
        drop(child.stdin.take());
        drop(child.stderr.take());
        child.wait().unwrap();
    }
}

fn free_base_port() -> u16 {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let fits = |base: &u16| (1..=4).all(|node| free(base + node) && free(base + 100 + node));
    let start = free_port() + 300;
    (start..start + 400).find(fits).unwrap()
}

#[test]
fn a_local_cluster_runs_shows_its_leader_stops_on_a_signal_and_has_everything_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let base = free_base_port();
    for round in 0..2 {
        let mut child = raft_kv()
            .args(["local", "--dir"])
            .arg(&dir)
            .args((round == 0).then(|| format!("--base-port={base}")))
            .args((round == 0).then_some("--spare=1"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        lines
            .find(|line| line.contains("leads, term"))
            .expect("the leader is shown");
        for node in 1..=3 {
            let mut client = Client::connect(base + node).unwrap();
            let counted = eventually("the node to hear of the leader", || {
                match client.call(&["INCR", "n"]).unwrap() {
                    Value::Integer(n) => Some(n),
                    _ => None,
                }
            });
            assert_eq!(counted, i64::from(round * 3 + node));
        }
        if round == 0 {
            let (to, place) = (base + 1, base + 104);
            let (to, place) = (format!("127.0.0.1:{to}"), format!("4=127.0.0.1:{place}"));
            done(&["attach", "--to", &to, &place]);
        }
        let spare = eventually("the spare node to know", || {
            let reply = Client::connect(base + 4).ok()?.call(&["GET", "n"]).ok()?;
            (!matches!(reply, Value::Error(_))).then_some(reply)
        });
        assert_eq!(spare, Value::bulk(&(round * 3 + 3).to_string()));
        let id = i32::try_from(child.id()).unwrap();
        let process = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
        let mut rest = String::new();
        lines.for_each(|line| rest.push_str(&line));
        assert!(rest.contains("Stopping."), "{rest}");
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, base + 1)).is_err());
    }
    let said = run(&["local", "--dir", dir.to_str().unwrap(), "--nodes", "5"]).err;
    assert!(said.contains("holds a cluster of 3 nodes"), "{said}");
    let mut log = String::new();
    let file = std::fs::File::open(dir.join("node-1.log")).unwrap();
    BufReader::new(file).read_to_string(&mut log).unwrap();
    assert!(log.contains("stopped"), "{log}");
}
