//! Every fault of the tenant against every state that an entry may be in when a lookup comes: over real TLS, through
//! the real socket, in a time that can be moved on.
//!
//! `faults` says what each cell has to come to; `states` brings an entry into a state; `cell` does the lookup and
//! holds what comes of it against what was said; `table` prints it all, and compares it with `docs/reference/faults.md`,
//! which it writes anew under `CLOAKROOM_WRITE_DOCS=1`.

mod cell;
mod expected;
mod faults;
mod states;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use states::State;

/// Cells that are tried at a time. Most of a cell's time goes by in waiting, and some wait for a second and no longer:
/// more at a time would make those late.
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_in_every_state_of_an_entry_comes_to_what_is_promised() {
    let rows = Arc::new(faults::rows());
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let (mut cells, mut names) = (JoinSet::new(), BTreeMap::new());
    for (row, fault) in rows.iter().enumerate() {
        for (column, state) in State::ALL.into_iter().enumerate() {
            let (rows, room) = (Arc::clone(&rows), Arc::clone(&room));
            let seed = (row * State::ALL.len() + column) as u64;
            let task = cells.spawn(async move {
                let _place = room.acquire().await.unwrap();
                (row, column, cell::tried(&rows[row], state, seed).await)
            });
            names.insert(
                task.id().to_string(),
                format!("{} / {} / {}", fault.group, fault.name, state.name()),
            );
        }
    }

    let mut texts = vec![[const { String::new() }; State::ALL.len()]; rows.len()];
    let mut wrong = Vec::new();
    while let Some(end) = cells.join_next_with_id().await {
        match end {
            Ok((id, (row, column, cell))) => {
                texts[row][column] = cell.text;
                let name = &names[&id.to_string()];
                wrong.extend(cell.wrong.into_iter().map(|what| format!("{name}: {what}")));
            }
            Err(end) => wrong.push(format!("{}: it panicked; see above", names[&end.id().to_string()])),
        }
    }
    wrong.sort();

    let tables = table::tables(&rows, &texts);
    println!("{tables}");
    assert!(wrong.is_empty(), "{} differ from what is promised:\n{}", wrong.len(), wrong.join("\n"));
    table::compare_with_the_page(&tables);
}
