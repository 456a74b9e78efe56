//! `raft-kv serve`: what a node starts with, and what it refuses to start on.

#![cfg(feature = "raft-kv")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Stdio;

use support::{Client, Cluster, Value, eventually, free_port, newest_segment, raft_kv, run};

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
    ended(arguments, 1)
}

/// Runs `serve`, which is expected not to understand; returns what it said.
fn not_understood(arguments: &[String]) -> String {
    ended(arguments, 2)
}

fn ended(arguments: &[String], code: i32) -> String {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = run(&arguments);
    assert_eq!(ran.code, Some(code), "{}", ran.err);
    ran.err
}

#[test]
fn an_empty_folder_never_becomes_a_voter() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let said = refused(&serve(&data, free_port(), free_port()));
    assert!(said.contains("holds no log"), "{said}");
    assert!(said.contains("raft-kv init"), "{said}");
    let left = std::fs::read_dir(&data).unwrap().count();
    assert_eq!(left, 0, "somebody else's folder is left as it is");
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
fn a_node_that_is_to_join_has_an_id_and_a_folder_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new").display().to_string();
    let mut arguments = serve(&data, free_port(), free_port());
    arguments.push("--join".to_string());
    let said = not_understood(&arguments);
    assert!(said.contains("Give --id N"), "{said}");
    assert!(!folder.path().join("new").exists());
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
    let said = not_understood(&["serve".to_string(), format!("--config={}", file.display())]);
    assert!(said.contains("unknown field `idd`"), "{said}");
}

#[test]
fn a_setting_out_of_its_range_is_told_in_milliseconds() {
    let mut arguments = serve("/nowhere", free_port(), free_port());
    arguments.push("--heartbeat-ms=200".to_string());
    let said = not_understood(&arguments);
    assert!(
        said.contains("--heartbeat-ms is 200 ms, expected 1 to 125 ms"),
        "{said}"
    );
}

/// A node that cannot listen is started again elsewhere, and `init` takes an empty folder only.
#[test]
fn a_node_that_cannot_listen_makes_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new");
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let one = free_port();
    for (peer, client) in [(port, free_port()), (free_port(), port), (one, one)] {
        let mut arguments = serve(&data.display().to_string(), peer, client);
        arguments.extend(["--join".to_string(), "--id=4".to_string()]);
        let said = refused(&arguments);
        assert!(said.contains("choose another port"), "{said}");
        assert!(!data.exists(), "{said}");
    }
}

#[test]
fn a_node_is_told_where_to_listen_and_what_to_log_in_words_that_are_understood() {
    let data = "--data=/nowhere".to_string();
    let said = not_understood(&["serve".to_string(), data.clone()]);
    assert!(said.contains("Give --peer-addr"), "{said}");
    let peers = "--peer-addr=127.0.0.1:1".to_string();
    let said = not_understood(&["serve".to_string(), peers.clone()]);
    assert!(said.contains("Give --data"), "{said}");
    let log = "--log=raft=loud".to_string();
    let said = not_understood(&["serve".to_string(), data, peers, log]);
    assert!(said.contains("--log raft=loud"), "{said}");
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
