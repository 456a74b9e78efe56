//! What programs say, for people: they give other commands, and need fewer words.

/// The commands that programs give, and the verbs that people type.
const VERBS: [(&str, &str); 12] = [
    ("RAFT.ATTACH", "attach"),
    ("RAFT.DETACH", "detach"),
    ("RAFT.PROMOTE", "promote"),
    ("RAFT.DEMOTE", "demote"),
    ("RAFT.MOVE", "move"),
    ("RAFT.TRANSFER", "transfer"),
    ("RAFT.STEPDOWN", "step-down"),
    ("RAFT.SNAPSHOT", "snapshot"),
    ("RAFT.SOLO", "solo"),
    ("RAFT.RESET", "reset"),
    ("RAFT.MEMBERS", "members"),
    ("RAFT.STATUS", "status"),
];

/// The verb for a command.
pub(super) fn verb(command: &str) -> &'static str {
    let known = VERBS.iter().find(|(name, _)| *name == command);
    known.map_or("the order", |(_, verb)| verb)
}

/// Programs look at the first word of an error, which people need only where it is one, and give other commands.
pub(super) fn for_people(error: &str) -> String {
    let error = error.strip_prefix("ERR ").unwrap_or(error);
    let mut text = error.replace(" (FORCE)", " (--force)");
    for (command, verb) in VERBS {
        text = text.replace(command, &format!("`raft-kv {verb}`"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_what_they_can_type() {
        let told = for_people("ERR look at it with RAFT.MEMBERS and RAFT.STATUS, and order again");
        assert_eq!(
            told,
            "look at it with `raft-kv members` and `raft-kv status`, and order again"
        );
        let told = for_people("ERR nobody answers at db7:7103 (FORCE)");
        assert_eq!(told, "nobody answers at db7:7103 (--force)");
        assert!(for_people("BUSY it is").starts_with("BUSY "));
    }
}
