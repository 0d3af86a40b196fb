//! The option `--output` of commands that print an answer of the daemon.

use std::io;

use clap::ValueEnum;
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::domain::freshness::Timestamp;

use super::client::Answer;
use super::exit::CommandError;
use super::text;

/// The format of a printed answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AnswerFormat {
    /// For people
    Text,
    /// The whole answer, for programs
    Json,
}

impl AnswerFormat {
    /// Prints `answer`, for people as formatted by `render`, which gets the current time for relative dates.
    pub(super) fn write<T: DeserializeOwned>(
        self,
        answer: &Answer,
        render: impl FnOnce(&T, Timestamp) -> String,
        out: &mut impl io::Write,
    ) -> Result<(), CommandError> {
        match self {
            Self::Json => writeln!(out, "{}", text::json(&answer.json()?))?,
            Self::Text => write!(out, "{}", render(&answer.json()?, Clock::system().now().wall))?,
        }
        Ok(())
    }
}
