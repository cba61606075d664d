//! Waiting with a deadline instead of sleeping.
//!
//! A closure is asked again until it gives a value; past the deadline the test fails and says what it waited for.
//!
//! This module never waits without an end.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Between two questions: short enough to be lost in a test's run time, long enough to leave the processor alone.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks `ready` until it gives a value, and returns that value.
///
/// # Panics
/// When `deadline` has passed; the message names `what`.
pub fn wait_for<T>(what: &str, deadline: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(begin.elapsed() < deadline, "waited {deadline:?} in vain for {what}");
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_for_returns_the_first_value() {
        let mut asked = 0;
        let value = wait_for("the third question", Duration::from_secs(5), || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(value, 3);
    }

    #[test]
    #[should_panic(expected = "in vain for a train")]
    fn wait_for_names_what_did_not_come() {
        wait_for("a train", Duration::from_millis(20), || None::<()>);
    }
}
