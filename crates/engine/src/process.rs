//! Which process this is, and whether another one still lives.
//!
//! A process id alone is not enough: it is used again. The start time from `/proc` tells the two apart.

use std::fs;

use muster_types::event::ProcessMark;

/// Returns the mark of this process.
pub fn this() -> ProcessMark {
    mark(std::process::id())
}

/// Returns the mark of a process.
pub fn mark(pid: u32) -> ProcessMark {
    ProcessMark { pid, start_ticks: start_ticks(pid).unwrap_or(0) }
}

/// Tells whether the process with this mark still runs (a zombie does not).
pub fn is_alive(mark: ProcessMark) -> bool {
    start_ticks(mark.pid) == Some(mark.start_ticks)
}

/// Field 22 of `/proc/<pid>/stat`. The name in parentheses may hold spaces, so counting starts after the last `)`.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_one_with_its_id_and_another_start_is_not() {
        let me = this();
        assert!(is_alive(me));
        assert!(!is_alive(ProcessMark { start_ticks: me.start_ticks + 1, ..me }));
    }
}
