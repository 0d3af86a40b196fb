//! Who may do what on which listener: the rules as the daemon understands them, and which one decides.

use std::io;

use nix::unistd::{Uid, User};

use crate::cli::text::table;
use crate::cli::{CommandError, Exit};
use crate::config::{self, Config, Listener};
use crate::domain::policy::{Allowed, Caller, OVERFLOW_ID, Operation, Policy, Request, Rule};
use crate::domain::user::UserId;

/// A request that might be made, as `--explain` describes it.
#[derive(Debug)]
pub struct Question {
    caller: Caller,
    operation: Operation,
    user: Option<UserId>,
    connection: Option<String>,
    listener: Option<String>,
}

const KEYS: &str = "uid, gid, operation, user, connection and listener";

impl Question {
    /// Reads `uid=web operation=token …`. Without a gid it is the group that the user has when it logs in.
    pub fn parse(words: &[String]) -> Result<Self, CommandError> {
        let wrong = |text: String| CommandError::new(Exit::Usage, format!("--explain: {text}"));
        let (mut uid, mut gid, mut operation) = (None, None, None);
        let (mut user, mut connection, mut listener) = (None, None, None);
        for word in words {
            let pair = word.split_once('=').filter(|(_, value)| !value.is_empty());
            let (key, value) =
                pair.ok_or_else(|| wrong(format!("write KEY=VALUE; there are the keys {KEYS}")))?;
            match key {
                "uid" => uid = Some(config::uid(value).map_err(|why| wrong(format!("uid: {why}")))?),
                "gid" => gid = Some(config::gid(value).map_err(|why| wrong(format!("gid: {why}")))?),
                "operation" => {
                    let names = || Operation::ALL.map(Operation::as_str).join(", ");
                    let found = Operation::parse(value);
                    operation =
                        Some(found.ok_or_else(|| wrong(format!("operation: there are {}", names())))?);
                }
                "user" => user = Some(UserId::parse(value).map_err(|why| wrong(format!("user: {why}")))?),
                "connection" => connection = Some(value.to_owned()),
                "listener" => listener = Some(value.to_owned()),
                _ => return Err(wrong(format!("there are the keys {KEYS}"))),
            }
        }
        let uid = uid.ok_or_else(|| wrong("say who: uid=NAME or uid=NUMBER".into()))?;
        let operation = operation.ok_or_else(|| wrong("say what: operation=token".into()))?;
        let group = || User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.gid.as_raw());
        let gid = gid.or_else(group).unwrap_or(OVERFLOW_ID);
        Ok(Self { caller: Caller { uid, gid }, operation, user, connection, listener })
    }

    /// Says for each listener whether and why the request would be allowed there.
    pub fn answer(&self, config: &Config, out: &mut impl io::Write) -> Result<(), CommandError> {
        let own_uid = nix::unistd::geteuid().as_raw();
        let (mut asked, mut allowed) = (false, false);
        for listener in &config.listeners {
            let path = listener.path.display().to_string();
            if self.listener.as_ref().is_some_and(|wanted| *wanted != path) {
                continue;
            }
            asked = true;
            let policy = Policy::new(own_uid, listener.allow.as_slice());
            let (user, connection) = (self.user.as_ref(), self.connection.as_deref());
            let request = Request { operation: self.operation, user, connection };
            match policy.rights(self.caller).decide(request) {
                Ok(found) => {
                    allowed = true;
                    writeln!(out, "{path}: allowed {}", reason(&found, policy.rules()))?;
                }
                Err(denied) => writeln!(out, "{path}: refused: {denied}")?,
            }
        }
        match (asked, allowed) {
            (false, _) => Err(CommandError::new(Exit::Usage, "--explain: there is no listener of that path")),
            (true, false) => Err(CommandError::new(Exit::Forbidden, "no listener allows this")),
            (true, true) => Ok(()),
        }
    }
}

fn reason(allowed: &Allowed, rules: &[Rule]) -> String {
    let Some((place, rule)) = allowed.rule.and_then(|place| Some((place, rules.get(place)?))) else {
        return "without a rule: the caller is root or the uid that the daemon runs as".into();
    };
    let mut text = format!("by rule {place}");
    if let Some(origin) = &rule.origin {
        text.push_str(&format!(" ({origin})"));
    }
    if let Some(connections) = &allowed.connections {
        text.push_str(&format!(", and shows only the connections {}", connections.join(", ")));
    }
    if let Some(rate) = allowed.rates.iter().map(|(_, rate)| *rate).reduce(f64::min) {
        text.push_str(&format!(", {rate} times a second at most"));
    }
    text
}

/// Prints every listener's rules as a table.
pub fn print(config: &Config, out: &mut impl io::Write) -> io::Result<()> {
    config.listeners.iter().try_for_each(|listener| {
        writeln!(out, "\nlistener {} (mode {:04o})", listener.path.display(), listener.mode)?;
        write!(out, "{}", table(&rows(listener)))
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
    let upkeep = if listener.allow.is_empty() { "all but management_token" } else { "purge status reload" };
    let own = ["-", "root and the daemon's own uid", upkeep, "all", "all", "any"].map(str::to_owned);
    rows.push(own);
    rows
}
