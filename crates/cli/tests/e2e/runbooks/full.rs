//! A full disk under the state folder: before a command begins, and while it runs.

use muster_testkit::{Sandbox, TinyDisk, wait_for};

use super::{PATIENCE, Place, services};

fn on_small_disk() -> (Place, TinyDisk) {
    let disk = TinyDisk::new(4 << 20);
    let sandbox = Sandbox::new();
    let state = disk.path().join("state");
    sandbox.write_config(&format!("state: {}\n{}{}", state.display(), sandbox.config(), services(&sandbox)));
    let cli = muster_testkit::Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path());
    (Place { sandbox, cli }, disk)
}

#[test]
fn a_full_state_disk_lets_no_command_begin() {
    let (place, disk) = on_small_disk();
    place.write(
        "x.md",
        "---\ntitle: x\n---\n```bash {name=one, class=idempotent}\necho one >> witness\n```\n",
    );
    place.run(&["runs"]).assert_exit(0);
    disk.fill_to(0);
    let failed = place.run(&["run", "x.md", "--yes"]);
    failed.assert_exit(1);
    assert!(failed.stderr.contains("state") && failed.stderr.contains("hint:"), "{}", failed.stderr);
    assert_eq!(place.read("witness"), "");
    disk.empty();
    place.run(&["run", "x.md", "--yes"]).assert_exit(0);
    assert_eq!(place.read("witness"), "one\n");
}

#[test]
fn a_disk_that_is_full_when_a_command_ends_is_waited_for_and_nothing_is_done_twice() {
    let (place, disk) = on_small_disk();
    place.write(
        "x.md",
        "---\ntitle: x\n---\n```bash {name=one, class=destructive, on_ambiguous=fail}\necho begun >> witness\nwhile ! test -e go; do sleep 0.05; done\necho one >> witness\n```\n",
    );
    let mut running = place.cli.spawn(&["run", "x.md", "--yes"]);
    wait_for("the command", PATIENCE, || (place.count("begun") == 1).then_some(()));
    disk.fill_to(0);
    place.write("go", "");
    wait_for("the effect", PATIENCE, || (place.count("one") == 1).then_some(()));
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(running.is_alive(), "it waits for room: {}", running.stderr_so_far());
    disk.empty();
    running.wait(PATIENCE).assert_exit(0);
    assert_eq!(place.read("witness"), "begun\none\n");
}
