//! A rotation whose new value a person has laid ready: in a variable, or in a file.

use std::fs;

use muster_testkit::Cli;

use super::{NEW_KEY, OLD_KEY, Shop, assert_nowhere};

#[test]
fn a_new_value_from_the_environment_or_a_file_is_taken_and_one_that_is_not_there_changes_nothing() {
    let shop = Shop::new();
    shop.edit_config("new: {generate: 32}", "new: {env: NEXT_KEY}");
    let before = shop.env_file();
    for refused in [None, Some("")] {
        let mut cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), shop.platform.sandbox.path());
        if let Some(value) = refused {
            cli = cli.env("NEXT_KEY", value);
        }
        let outcome = cli.run(&["rotate", "API_KEY", "--yes"]);
        outcome.assert_exit(2);
        assert!(
            outcome.stderr.contains("NEXT_KEY") && outcome.stderr.contains("hint:"),
            "{}",
            outcome.stderr
        );
        assert_eq!(shop.env_file(), before);
    }
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), shop.platform.sandbox.path());
    let told = cli.env("NEXT_KEY", NEW_KEY).run(&["rotate", "API_KEY", "--yes"]);
    told.assert_exit(0);
    assert_eq!(shop.env_file(), before.replace(OLD_KEY, NEW_KEY));
    assert!(shop.takes(NEW_KEY) && !shop.takes(OLD_KEY));
    fs::write(shop.file("next"), "key-of-a-file-77aa01\n").unwrap();
    shop.edit_config("new: {env: NEXT_KEY}", "new: {file: next}");
    shop.platform.well(&["rotate", "API_KEY", "--yes"]);
    assert!(shop.takes("key-of-a-file-77aa01") && !shop.takes(NEW_KEY));
    assert_nowhere(&shop.file(".muster"), &[OLD_KEY, NEW_KEY, "key-of-a-file-77aa01"]);
    assert!(!told.stdout.contains(NEW_KEY) && !told.stderr.contains(NEW_KEY));
}
