//! Running child processes: real ones, with their groups, pipes and leftovers.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

use std::time::{Duration, Instant};

use muster_drivers::command::{CommandError, Exit, Invocation, Leftovers};
use muster_testkit::wait_for;
use muster_types::{Secret, event::Unwatched};

const LONG: Duration = Duration::from_secs(20);

fn shell(script: &str, timeout: Duration) -> Invocation {
    Invocation::new(["sh", "-c", script], timeout)
}

/// Whether a process runs; one that ended and waits to be reaped by its parent does not.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

fn end(pid: &str) {
    assert!(Invocation::new(["kill", "-9", pid], LONG).run(&Unwatched).unwrap().is_success());
}

#[test]
fn exit_code_and_both_streams_are_told_apart() {
    let ended = shell("echo out; echo err >&2; exit 7", LONG).run(&Unwatched).unwrap();
    assert_eq!(ended.exit, Exit::Code(7));
    assert_eq!(ended.stdout.complete_text(), Some("out\n"));
    assert_eq!(ended.stderr.complete_text(), Some("err\n"));
    assert_eq!(shell("kill -9 $$", LONG).run(&Unwatched).unwrap().exit, Exit::Signal(9));
    assert_eq!(shell("exit 127", LONG).run(&Unwatched).unwrap().exit, Exit::Code(127));
}

#[test]
fn a_program_that_cannot_be_run_is_named() {
    let error = |program: &str| Invocation::new([program], LONG).run(&Unwatched).unwrap_err();
    assert!(matches!(error("muster-no-such-program"), CommandError::NotFound { .. }));
    let file = tempfile::NamedTempFile::new().unwrap();
    let error_of_file = error(&file.path().to_string_lossy());
    assert!(matches!(error_of_file, CommandError::NotExecutable { .. }), "{error_of_file:?}");
    assert!(matches!(error(""), CommandError::Empty));
}

#[test]
fn a_timeout_ends_the_whole_group_even_when_it_ignores_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let script =
        format!("trap '' TERM; sleep 300 & echo $! > {}; echo waiting; wait; sleep 300", file.display());
    let begun = Instant::now();
    let error = shell(&script, Duration::from_millis(500)).run(&Unwatched).unwrap_err();
    assert_eq!(error.to_string(), "`sh` did not end within 500ms; its last words: waiting");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    // The kernel takes a moment to end what was killed.
    let pid = std::fs::read_to_string(&file).unwrap();
    wait_for("the end of the group", Duration::from_secs(10), || (!is_alive(pid.trim())).then_some(()));
}

#[test]
fn a_stranger_that_holds_the_output_open_does_not_hold_us() {
    // `setsid` leaves the process group, so only the pipe binds it to us.
    let begun = Instant::now();
    let ended = shell("setsid sh -c 'echo $$; exec sleep 30' & sleep 0.3", LONG).run(&Unwatched).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let stranger = ended.stdout.text().trim().to_owned();
    assert!(is_alive(&stranger), "the test means a process that outlives the command");
    end(&stranger);
}

#[test]
fn a_process_left_behind_is_killed_or_kept_as_asked() {
    for (leftovers, is_kept) in [(Leftovers::Kill, false), (Leftovers::Keep, true)] {
        let mut invocation = shell("sleep 30 & echo $!", LONG);
        invocation.leftovers = leftovers;
        let pid = invocation.run(&Unwatched).unwrap().stdout.text().trim().to_owned();
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(is_alive(&pid), is_kept);
        if is_kept {
            end(&pid);
        }
    }
}

#[test]
fn long_output_is_cut_and_secrets_are_masked() {
    let mut invocation =
        shell("echo begin; head -c 5000000 /dev/zero | tr '\\0' x; echo; echo key=hunter2", LONG);
    invocation.secrets.push(Secret::new("hunter2"));
    let ended = invocation.run(&Unwatched).unwrap();
    let text = ended.stdout.text();
    assert!(text.starts_with("begin\n") && text.ends_with("key=***\n"));
    assert!(ended.stdout.cut() > 3_900_000 && text.len() < 1_100_000);
}
