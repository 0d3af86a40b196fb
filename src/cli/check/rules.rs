//! The rules of each listener as a table, as the daemon understands them.

use std::io;

use super::calls;
use crate::cli::text::table;
use crate::config::{Config, Listener};

/// Prints every listener's rules as a table.
pub fn print(config: &Config, out: &mut impl io::Write) -> io::Result<()> {
    config.listeners.iter().try_for_each(|listener| {
        writeln!(out, "\nlistener {} (mode {:04o})", listener.path.display(), listener.mode)?;
        write!(out, "{}", table(&rows(listener)))?;
        calls::print(config, listener, out)
    })
}

fn rows(listener: &Listener) -> Vec<[String; 6]> {
    let title = ["rule", "who", "operations", "connections", "users", "rate"].map(str::to_owned);
    let mut rows = vec![title];
    for (place, rule) in listener.allow.iter().enumerate() {
        let id = |what: &str, id: Option<u32>| id.map(|id| format!("{what} {id}"));
        let who: Vec<_> = [id("uid", rule.uid), id("gid", rule.gid)].into_iter().flatten().collect();
        let operations: Vec<_> = rule.operations.iter().map(|operation| operation.as_str()).collect();
        let users = rule.users.as_ref();
        rows.push([
            place.to_string(),
            who.join(" and "),
            operations.join(" "),
            rule.connections.as_ref().map_or("all".into(), |connections| connections.join(" ")),
            users.map_or("all".into(), |users| {
                users.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            }),
            rule.rate.map_or("any".into(), |rate| format!("{rate}/s")),
        ]);
    }
    let operations =
        if listener.allow.is_empty() { "all but management_token and calls" } else { "purge status reload" };
    let own = ["-", "root and the daemon's own uid", operations, "all", "all", "any"].map(str::to_owned);
    rows.push(own);
    rows
}
